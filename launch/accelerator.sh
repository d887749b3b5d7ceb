#!/usr/bin/env bash
# Prints jax's extra for the accelerator of this machine: cuda13, cuda12 or tpu; nothing where there is none.
# JAX_PLATFORMS=cpu says that none is wanted.
set -euo pipefail

[[ "${JAX_PLATFORMS:-}" != cpu ]] || exit 0

if nvidia-smi -L &>/dev/null || [[ -e /dev/nvidia0 ]]; then
  # CUDA 13 asks for driver 580 and compute capability 7.5; the CUDA 12 wheels serve everything older or unknown.
  gpu=$(nvidia-smi --query-gpu=driver_version,compute_cap --format=csv,noheader 2>/dev/null) || gpu=unknown
  if [[ "$gpu" =~ ^([0-9]+)\.[0-9.]+,\ *([0-9]+)\.([0-9]) ]] &&
    ((BASH_REMATCH[1] >= 580 && 10 * BASH_REMATCH[2] + BASH_REMATCH[3] >= 75)); then
    echo cuda13
  else
    echo cuda12
  fi
elif [[ -n "${TPU_NAME:-}" || -e /dev/accel0 ]] ||
  { compgen -G '/dev/vfio/[0-9]*' && grep -s Google /sys/class/dmi/id/product_name; } >/dev/null; then
  echo tpu
fi
