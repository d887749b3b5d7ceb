#!/usr/bin/env bash
# Pretrains, evaluates and prints where the run is, from a clean checkout; continues the run when called again.
#
#   bash launch/local.sh                                        SimCLR on scikit-learn's digits, no download of data
#   bash launch/local.sh --config=configs/simclr.py:cifar10_cpu --workdir=runs/cifar --config.data.source=npz:/data/cifar10
#
# Every argument goes to `python -m ssl_jax.pretrain`; paths are relative to the repository root. Without --workdir,
# configs/simclr.py:digits runs in runs/simclr_digits. Without an accelerator there are 8 simulated devices (unless
# XLA_FLAGS sets their number). PYTHON and uv: see launch/setup.sh.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source launch/setup.sh
# shellcheck disable=SC2119 # our arguments are pretrain's, not pip's
set_up

config='' workdir='' previous=''
for argument in "$@"; do
  case "$previous $argument" in
    *" --config="*) config=${argument#*=} ;;
    "--config "*) config=$argument ;;
    *" --workdir" | *" --workdir="*) workdir=given ;;
  esac
  previous=$argument
done
if [[ -z "$config" ]]; then
  config=configs/simclr.py:digits
  set -- --config="$config" "$@"
fi
if [[ -z "$workdir" ]]; then
  name=${config##*/} # simclr.py:digits
  name=${name/.py/}  # simclr:digits
  set -- --workdir="runs/${name/:/_}" "$@"
fi

if [[ -z "$accelerator" && "${XLA_FLAGS:-}" != *xla_force_host_platform_device_count* ]]; then
  export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=8"
fi
source launch/env.sh
exec .venv/bin/python -m ssl_jax.pretrain "$@"
