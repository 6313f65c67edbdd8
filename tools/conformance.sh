#!/bin/sh
# ONNX's own backend tests against pith: see conformance.py. Makes two Python environments under build/ on first use (needs
# Debian's python3-venv and PyPI): the release whose cases lie in the package, and a later one for additions and corrections.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/build/conformance

# environment FOLDER PACKAGES...
environment() {
  venv=$work/$1
  shift
  if [ "$(cat "$venv/installed" 2>/dev/null)" != "$*" ]; then
    echo "making $venv (once)" >&2
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "$@" >&2
    echo "$*" >"$venv/installed"
  fi
}

environment venv onnx==1.18.0 numpy==2.2.6
environment later/venv onnx==1.23.2 numpy==2.2.6
data=$("$work/venv/bin/python" -c 'import onnx, os; print(os.path.dirname(onnx.__file__))')/backend/test/data/node
if [ ! -e "$work/later/written" ] || [ "$root/tests/conformance_errata.csv" -nt "$work/later/written" ] || [ "$root/tools/conformance_later.py" -nt "$work/later/written" ]; then
  "$work/later/venv/bin/python" "$root/tools/conformance_later.py" "$data" "$work/later/cases" 2>/dev/null
  touch "$work/later/written"
fi
exec "$work/venv/bin/python" "$root/tools/conformance.py" "$@"
