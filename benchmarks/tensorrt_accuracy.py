"""Accuracy of the graphs that bmopt makes for TensorRT, on the models' own labelled samples.

Each model is compiled for every target, with the same calibration and validation samples, and the
graph is evaluated on ONNX Runtime's CPU provider with its Q/DQ nodes as they are written: this is
what the engine computes but for the order of its sums. No GPU is needed, and no latency measured.

    python benchmarks/tensorrt_accuracy.py [--only NAME] [--target T ...] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from shared_models import DEFAULT_DATA, compiled, sample_limits, shared_models

_TARGETS = (
    "trt-fp16",
    "trt-bf16",
    "trt-int8",
    "trt-int8 --float fp16",
    "rtx-int8:sm89",
    "trt-fp8",
)


def line(target: str, report: dict[str, Any] | str) -> str:
    """Return a row of the table."""
    if isinstance(report, str):
        return f"  {target:24s} {report}"
    found = report["accuracy"]
    low, high = (100 * float(end) for end in found["difference"])
    sqnr = min(float(value) for value in found["sqnr_db"].values())
    return (
        f"  {target:24s} {found['reference']['top1']:8.2%} {found['candidate']['top1']:8.2%} "
        f"[{low:+.2f}, {high:+.2f}] {found['agreement']:9.2%} {sqnr:6.1f} dB"
    )


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--target", action="append", help="a target; repeatable")
    parser.add_argument("--calib-limit", type=int, default=256)
    parser.add_argument("--val-limit", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    refused = False
    for model in shared_models(args.data, args.only):
        print(f"{model.name}: FP32 top-1, top-1, difference in points, agreement, SQNR")
        for target in args.target or _TARGETS:
            with tempfile.TemporaryDirectory(prefix="bmopt-trt-") as folder:
                report = compiled(model, target, Path(folder), sample_limits(args))
            refused |= isinstance(report, str)
            print(line(target, report), flush=True)
            rows.setdefault(model.name, {})[target] = report
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
