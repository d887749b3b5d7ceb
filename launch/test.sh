#!/usr/bin/env bash
# Sets up as launch/local.sh does, with the test extra, and runs the test suite on 8 simulated CPU devices, with a process
# for every core (--numprocesses=0: none, as for a debugger).
#
#   bash launch/test.sh                              the whole suite
#   bash launch/test.sh tests/losses -k nt_xent      every argument goes to pytest
#   PARITY=1 bash launch/test.sh                     with PyTorch, too: the comparisons with it must run, not be skipped
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source launch/setup.sh
if [[ -n "${PARITY:-}" ]]; then
  set_up --editable '.[test,parity]'
  set -- --require_parity "$@"
else
  set_up --editable '.[test]'
fi
export JAX_PLATFORMS=cpu
exec .venv/bin/python -m pytest --numprocesses=auto --maxprocesses=8 --dist=worksteal "$@"
