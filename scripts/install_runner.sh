#!/bin/sh
# Build the native runner and install it beside bmopt's extension:
# install_runner.sh PYTHON BUILD_FOLDER [OPTIONS OF CMAKE...]
set -eu
python=$1
build=$2
shift 2
prefix=$("$python" -c 'import pathlib, bmopt._ext
print(pathlib.Path(bmopt._ext.__file__).parent)')
# TVM's headers are looked for where bmopt is.
own=$("$python" -c 'import sys; print(sys.executable)')
cmake -S cpp_ext/runner -B "$build" -DCMAKE_BUILD_TYPE=Release -DBMOPT_RUNNER_PYTHON="$own" "$@"
cmake --build "$build" --parallel 2
cmake --install "$build" --prefix "$prefix"
