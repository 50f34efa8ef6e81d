#!/usr/bin/env bash
# Runs the tests; arguments go to pytest. Sets itself up on first use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh dev
exec .venv/bin/python -m pytest "$@"
