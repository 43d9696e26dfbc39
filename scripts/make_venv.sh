#!/bin/sh
# Make a virtual environment with pip in it: make_venv.sh PYTHON FOLDER
set -eu
python=$1
venv=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
  echo "bmopt needs Python 3.10 or newer, and $python is not; name one: make PYTHON=python3.12" >&2
  exit 1
fi
if "$python" -c 'import ensurepip' 2>/dev/null; then
  "$python" -m venv "$venv"
  exit 0
fi
# Debian keeps ensurepip in python3-venv; the pip of the system can fill the environment as well.
if ! { "$python" -m venv --without-pip "$venv" &&
       "$python" -m pip --quiet --python "$venv/bin/python" install pip; }; then
  rm -rf "$venv"
  echo "$python has neither ensurepip nor pip; on Debian: apt-get install python3-venv" >&2
  exit 1
fi
