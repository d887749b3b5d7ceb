#!/usr/bin/env bash
# Sourced by every launcher: environment variables only, and never instead of what the user has set.
#
#   SSL_JAX_DETERMINISTIC=1     bit-for-bit repeatable runs on GPUs; slower, and no maximum pooling: off by default
#
# What XLA_FLAGS already names stays as it is. XLA does not start with a flag that it does not know: jaxlib 0.10 to 0.12
# know all of these, on any device.

# Adds the flag "$1" to XLA_FLAGS unless it is there with any value.
xla_flag() {
  local name=${1%%=*}
  [[ " ${XLA_FLAGS:-} " == *" $name"[=\ ]* ]] || export XLA_FLAGS="${XLA_FLAGS:+$XLA_FLAGS }$1"
}

# Compiles once, not at every start. The choices of GPU kernels, which are measured, are kept there too.
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/ssl_jax/jax}"
# A process has its GPUs to itself; jax would take 75 % of their memory. The rest is for NCCL and cuDNN.
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}"

# Simulated devices wait for one another on few cores: give their collectives time.
if [[ -n "${JAX_NUM_CPU_DEVICES:-}" || "${XLA_FLAGS:-}" == *xla_force_host_platform_device_count* ]]; then
  xla_flag --xla_cpu_collective_call_terminate_timeout_seconds=600
  # XLA takes the large buffers of a step anew each time: in huge pages they cost a thirtieth of the page faults.
  export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
fi

if [[ "${SSL_JAX_DETERMINISTIC:-0}" == 1 ]]; then
  # Scatters, convolutions and matrix products without atomic additions. What has no such form is refused when it
  # compiles: the gradient of maximum pooling, which ResNet's ImageNet stem has, is why this is not the default.
  xla_flag --xla_gpu_exclude_nondeterministic_ops=true
  # Kernels by rule, not by a measurement, new or kept, which another start or host may decide differently.
  xla_flag --xla_gpu_autotune_level=0
  export JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES="${JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES:-none}"
  # One order of summation for all message sizes; never the switch's own arithmetic (NVLS, SHARP).
  export NCCL_ALGO="${NCCL_ALGO:-Ring}" NCCL_PROTO="${NCCL_PROTO:-Simple}"
fi
