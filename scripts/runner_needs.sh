#!/bin/sh
# What the native runner is built with in the system that wheels are built in: ONNX Runtime's C
# header, into FOLDER, and stb's picture decoder. runner_needs.sh FOLDER
set -eu
version=1.23.2
case $(uname -m) in
  x86_64) name=onnxruntime-linux-x64-$version ;;
  aarch64) name=onnxruntime-linux-aarch64-$version ;;
esac
releases=https://github.com/microsoft/onnxruntime/releases/download
mkdir -p "$1"
curl --fail --silent --show-error --location "$releases/v$version/$name.tgz" |
  tar -xz -C "$1" --strip-components=1 "$name/include"
dnf install --assumeyes --quiet epel-release
dnf install --assumeyes --quiet stb_image-devel
