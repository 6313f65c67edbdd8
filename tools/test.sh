#!/bin/sh
# The builds and tests behind `make test`: tools/test.sh JOBS
set -eu
jobs=${1:-2}
build() {  # preset [targets...]
  preset=$1; shift
  echo "== $preset: build"
  cmake --preset "$preset" > /dev/null
  if [ $# -gt 0 ]; then cmake --build --preset "$preset" -j "$jobs" --target "$@"; else cmake --build --preset "$preset" -j "$jobs"; fi
}
# the runtime alone: a compiler and nothing else
build runtime
# what reads untrusted bytes, under address and undefined sanitizers
build sanitize sanitized_tests
echo "== sanitize: test"
ctest --preset sanitize -R "$(cat build/sanitize/sanitized_tests.txt)" -j "$jobs"
# 64-bit Arm under emulation
build aarch64
echo "== aarch64: test"
ctest --preset aarch64 -j "$jobs"
# everything
build default
echo "== default: test"
exec ctest --preset default -j "$jobs"
