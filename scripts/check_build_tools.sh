#!/bin/sh
# Say in one line what is missing to build the extension: check_build_tools.sh PYTHON
set -eu
python=$1

if ! command -v "${CXX:-c++}" >/dev/null && ! command -v g++ >/dev/null; then
  echo "no C++ compiler found; install g++" >&2
  exit 1
fi
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
if [ ! -f "$header" ]; then
  echo "$header is missing; on Debian: apt-get install python3-dev" >&2
  exit 1
fi
