#!/usr/bin/env bash
# Sets up as launch/local.sh does, with the test extra, and runs the test suite on 8 simulated CPU devices.
#
#   bash launch/test.sh                              the whole suite
#   bash launch/test.sh tests/losses -k nt_xent      every argument goes to pytest
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source launch/setup.sh
set_up --editable '.[test]'
export JAX_PLATFORMS=cpu
exec .venv/bin/python -m pytest "$@"
