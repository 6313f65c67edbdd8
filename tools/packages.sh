#!/bin/sh
# Installs what a target needs with apt, and only what is missing: tools/packages.sh build|test|long
# Needs root or sudo only when something is missing.
set -eu
build="g++ cmake ninja-build ccache libonnx-dev libprotobuf-dev protobuf-compiler libcli11-dev nlohmann-json3-dev libyaml-cpp-dev libfmt-dev libopenblas-dev libjpeg-dev libpng-dev zlib1g-dev libarchive-dev libgtest-dev libtorch-dev libgloo-dev python3 file"
long="$build libsystemc-dev verilator"
test="$build g++-aarch64-linux-gnu qemu-user googletest chromium pkg-config"
case "${1:-build}" in
  build) wanted=$build ;;
  test) wanted=$test ;;
  long) wanted=$long ;;
  *) echo "usage: tools/packages.sh build|test|long" >&2; exit 2 ;;
esac
missing=""
for package in $wanted; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >&2
