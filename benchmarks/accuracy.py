"""Measure INT8's accuracy beside other tools': ``python benchmarks/accuracy.py --help``."""

from __future__ import annotations

import runpy

if __name__ == "__main__":
    # The package of the same name beside this file, which an import finds before the file.
    runpy.run_module("accuracy", run_name="__main__", alter_sys=True)
