#!/bin/sh
# ONNX's own backend tests against pith: see conformance.py. Makes a Python environment under build/ on first use (needs
# Debian's python3-venv and PyPI).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/build/conformance/venv
wanted="onnx==1.18.0 numpy==2.2.6"
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
  echo "making $venv (once)" >&2
  python3 -m venv "$venv"
  # shellcheck disable=SC2086
  "$venv/bin/pip" install --quiet $wanted >&2
  echo "$wanted" >"$venv/installed"
fi
exec "$venv/bin/python" "$root/tools/conformance.py" "$@"
