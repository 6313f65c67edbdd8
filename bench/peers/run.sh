#!/bin/sh
# Runs pith beside its peers: bench/peers/run.sh [--nets a,b] [--peers ...] [--help]. See run.py for what is measured.
#
# Makes two Python environments under build/peers on first use (needs Debian's python3-venv and a C++ compiler, and PyPI):
# one for the peers, and one for nncodec, which wants an older numpy. PITH_PEERS_VENV names a ready environment instead.
# The measuring data is ../shared/data/dev, or $PITH_DATA.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(cd "$here/../.." && pwd)/build/peers
mkdir -p "$work"

install_once() { # ENVIRONMENT STAMP PIP-COMMANDS...: runs the rest unless STAMP is already what was installed
  if [ "$(cat "$1/installed" 2>/dev/null)" != "$2" ]; then
    echo "making $1 (once)" >&2
    python3 -m venv "$1"
    environment=$1 stamp=$2
    shift 2
    for step in "$@"; do
      # shellcheck disable=SC2086
      "$environment/bin/pip" install --quiet $step >&2 || return 1
    done
    echo "$stamp" >"$environment/installed"
  fi
}

venv=${PITH_PEERS_VENV:-$work/venv}
if [ "$venv" = "$work/venv" ]; then
  # pnnx names torch as a dependency, but the program inside the package is complete.
  install_once "$venv" "$(cat "$here/requirements.txt") pnnx==20261020" "-r $here/requirements.txt" "--no-deps pnnx==20261020"
fi
install_once "$work/nncodec-venv" "nncodec==2.1.3" "numpy<2 pybind11 setuptools wheel" "--no-deps --no-build-isolation nncodec==2.1.3" ||
  echo "nncodec did not install: its rows will say so" >&2

exec "$venv/bin/python" "$here/run.py" "$@"
