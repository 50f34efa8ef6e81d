#!/usr/bin/env bash
# Runs the tests; arguments go to pytest. Without any, two processes share all tests. Sets itself up on first use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh dev
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # the models are so small that a second thread waits more than it works
if [ $# -eq 0 ]; then set -- -n 2 --dist worksteal; fi
exec .venv/bin/python -m pytest "$@"
