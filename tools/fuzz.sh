#!/bin/sh
# The fuzz targets under address and undefined sanitizers: tools/fuzz.sh [SECONDS PER TARGET] [TARGETS...]
# Corpora are kept in build/fuzz/corpus/, inputs that crashed in build/fuzz/found/. Needs Debian's clang.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=${1:-60}
[ $# -gt 0 ] && shift
targets=${*:-"fuzz_codes fuzz_files fuzz_pith fuzz_onnx"}
cd "$root"
cmake --preset fuzz > /dev/null
# shellcheck disable=SC2086
cmake --build --preset fuzz --target $targets
for target in $targets; do
  mkdir -p "build/fuzz/corpus/$target" build/fuzz/found
  echo "== $target: $seconds s"
  "build/fuzz/tests/fuzz/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/found/$target-" "build/fuzz/corpus/$target" 2>&1 | grep -E '^(stat::|Done|SUMMARY|==[0-9]+==ERROR)|Test unit written'
done
