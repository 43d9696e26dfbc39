"""Run the comparison with other INT8 tools: ``python benchmarks/peers/run.py --help``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # The folder above, for the package itself and for what the benchmarks share.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    runpy.run_module("peers", run_name="__main__", alter_sys=True)
