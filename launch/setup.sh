#!/usr/bin/env bash
# Shared set-up, sourced by the launchers from the repository root: a `.venv` that holds requirements.txt.
#
#   set_up [more arguments of pip install]     returns at once when nothing has changed since the last time
#
# uv makes and fills .venv where it is installed, venv and pip elsewhere. PYTHON=/path/to/python selects the interpreter
# of a new .venv; remove .venv to change it. Sets $accelerator, see launch/accelerator.sh.

die() {
  echo "launch: $*" >&2
  exit 1
}

# Prints the first Python >= 3.11 that can import the modules "$1".
find_python() {
  local candidates=(python3.13 python3.12 python3.11 python3) candidate
  [[ -z "${PYTHON:-}" ]] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    "$candidate" -c "import $1, sys; assert sys.version_info >= (3, 11); print(sys.executable)" 2>/dev/null && return
  done
  return 1
}

make_venv() {
  local python
  if command -v uv >/dev/null && { python=$(find_python sys) || [[ -z "${PYTHON:-}" ]]; }; then
    rm -rf .venv
    uv venv --quiet --seed --python "${python:-3.12}" .venv # 3.12 is fetched by uv
  elif python=$(find_python "ensurepip, venv"); then
    rm -rf .venv
    "$python" -m venv .venv
  elif python=$(find_python sys); then
    die "$python has no venv module: install it (Debian and Ubuntu: the package ${python##*/}-venv), or install uv."
  else
    python=${PYTHON:-python3}
    die "Python >= 3.11 is needed, but $python is $("$python" --version 2>/dev/null || echo missing):" \
      "install a newer one, or uv, which fetches one, or name one in PYTHON=/path/to/python."
  fi
}

set_up() {
  local versions wanted packages=(--requirement requirements.txt "$@")
  accelerator=$(bash launch/accelerator.sh)
  [[ -z "$accelerator" ]] || packages+=("jax[$accelerator]")
  # .venv/installed has a line for each call that has nothing left to install.
  versions="$(cat requirements.txt pyproject.toml | cksum) $accelerator"
  wanted="$versions $*"
  if [[ -x .venv/bin/python ]] && grep -qsxF "$wanted" .venv/installed; then return; fi

  .venv/bin/python -m pip --version &>/dev/null || make_venv
  rm -f .venv/installed
  echo "Installing ${packages[*]} into .venv ($(.venv/bin/python --version)): some minutes the first time"
  if command -v uv >/dev/null; then
    uv pip install --quiet --python .venv/bin/python "${packages[@]}"
  else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "${packages[@]}"
  fi
  printf '%s\n' "$versions " "$wanted" >.venv/installed
}
