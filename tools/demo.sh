#!/bin/sh
# `make demo`: compresses the line reader that the project trained, runs it on pictures of text, and shows both networks
# side by side in the terminal and as build/demo/index.html. PICTURE=my_line.png make demo reads your own picture too.
set -eu
cd "$(dirname "$0")/.."
exec python3 tools/demo.py --pith build/default/cli/pith --out build/demo ${PICTURE:+--picture "$PICTURE"}
