#!/usr/bin/env bash
# Pretrains on all workers of a Cloud TPU VM, with the files of this checkout, committed or not; shows their output.
#
#   TPU=name ZONE=us-central2-b bash launch/tpu_vm.sh --config=configs/simclr.py:imagenet_r50_100ep --workdir=/runs/r50
#
# Every argument goes to `python -m ssl_jax.pretrain`. Worker 0 alone writes and reads --workdir: a path on its own disk
# or, to outlive the TPU VM, on a mounted bucket or Filestore (a gs:// address is no path). Every worker reads the data.
# Called again, the run goes on. The command lasts as long as the run: start it in tmux. To stop, letting the run save:
#
#   gcloud compute tpus tpu-vm ssh $TPU --zone=$ZONE --worker=all --command='pkill -TERM -f [s]sl_jax.pretrain'
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
: "${TPU:?names the TPU VM: TPU=name ZONE=zone bash launch/tpu_vm.sh ...}" "${ZONE:?names the zone of the TPU VM}"

archive=$(mktemp)
trap 'rm -f "$archive"' EXIT
mapfile -d '' -t listed < <(git ls-files -z --cached --others --exclude-standard)
files=()
for file in "${listed[@]}"; do [[ ! -e "$file" ]] || files+=("$file"); done # those deleted and not committed are listed
printf '%s\0' "${files[@]}" | tar --create --gzip --null --files-from=- --file="$archive"
gcloud compute tpus tpu-vm scp "$archive" "$TPU":ssl_jax.tar.gz --zone="$ZONE" --worker=all

environment=''
for name in XLA_FLAGS LIBTPU_INIT_ARGS JAX_COMPILATION_CACHE_DIR TFDS_DATA_DIR; do
  [[ -z "${!name:-}" ]] || environment+="$name=${!name@Q} "
done
# The Python of a TPU VM's image may be too old: uv, which launch/setup.sh uses where it is, brings its own.
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
  set -e
  mkdir -p ssl_jax
  tar -xzf ssl_jax.tar.gz -C ssl_jax
  cd ssl_jax
  export PATH=\"\$HOME/.local/bin:\$PATH\" $environment
  command -v uv >/dev/null || python3 -m pip install --user --quiet uv
  source launch/setup.sh
  set_up
  source launch/env.sh
  exec .venv/bin/python -m ssl_jax.pretrain --distributed ${*@Q}"
