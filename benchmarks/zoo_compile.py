"""Compile every file of the shared zoo, as a user would with random samples.

Each goes through ``bmopt compile`` for every target, by default ``ort-fp32`` and ``ort-int8``, in
a process of its own. A good end is an artifact, or one line of error and exit code 2, with nothing
left behind in the temporary folder; anything else is a fault.

    python benchmarks/zoo_compile.py [--target T]... [--with "--float fp16"] [--only NAME] [--edge]
        [--calib DATA] [--duration S] [--json FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from shared_models import DEFAULT_DATA

TARGETS = ("ort-fp32", "ort-int8")

NOT_OURS = {".ses"}
"""What ONNX Runtime itself keeps in the temporary folder, one file for all processes."""


@dataclasses.dataclass(frozen=True)
class End:
    """How compiling one model for one target ended: ``ok``, ``refused`` or ``FAULT``."""

    model: str
    target: str
    end: str
    words: str
    warnings: tuple[str, ...] = ()
    report: dict[str, Any] | None = None


def compiled(model: Path, target: str, options: list[str], timeout_s: float) -> End:
    """Compile ``model`` in a folder of its own and say how it ended."""
    with tempfile.TemporaryDirectory(prefix="bmopt-zoo-") as scratch:
        out, rest = Path(scratch) / "artifact", Path(scratch) / "tmp"
        rest.mkdir()
        argv = [sys.executable, "-m", "bmopt", "compile", str(model), "--target", target]
        argv += [*options, "-o", str(out), "--json"]
        environment = {**os.environ, "TMPDIR": str(rest)}
        try:
            done = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            return End(model.name, target, "FAULT", f"still running after {timeout_s:.0f} s")
        found = {path.name for path in (*rest.iterdir(), *Path(scratch).iterdir())}
        left = sorted(found - {rest.name, out.name} - NOT_OURS)
        return judged(model.name, target, done, has_artifact=out.is_dir(), left=left)


def judged(
    model: str,
    target: str,
    done: subprocess.CompletedProcess[str],
    *,
    has_artifact: bool,
    left: list[str],
) -> End:
    """Return the verdict on a run that ended by itself."""
    said = done.stderr.splitlines()
    warnings = tuple(line for line in said if "warning:" in line)
    lines = [line for line in said if line not in warnings]
    if left:
        return End(model, target, "FAULT", f"left behind: {', '.join(left)}")
    if done.returncode == 0 and has_artifact and not lines:
        report = json.loads(done.stdout)
        return End(model, target, "ok", summary(report), warnings, report)
    if done.returncode == 2 and len(lines) == 1 and not has_artifact:
        return End(model, target, "refused", lines[0])
    words = " ".join(done.stderr.split())[-300:]
    return End(model, target, "FAULT", f"exit {done.returncode}: {words}")


def summary(report: dict[str, Any]) -> str:
    """Return the figures of a report in a line."""
    accuracy = report.get("accuracy") or {}
    sqnr = accuracy.get("sqnr_db") or {}
    worst = min((float(value) for value in sqnr.values()), default=math.nan)
    placed = report.get("placement") or {}
    words = [f"worst SQNR {worst:.1f} dB", f"{placed.get('integer', 0)} nodes in 8 bits"]
    audit = placed.get("audit") or {}
    if audit.get("integer_work") is not None:
        words.append(f"{100 * audit['integer_work']:.1f} % of their work seen so")
    if report.get("cast"):
        words.append(f"{len(report['cast']['float_nodes'])} nodes in float32")
    return ", ".join(words)


def main() -> int:
    """Run the sweep."""
    args = _arguments()
    folder = args.data / "zoo" / ("edge" if args.edge else "models")
    options = ["--calib", args.calib, "--duration", str(args.duration)]
    options += shlex.split(args.options)
    ends = []
    for model in sorted(folder.glob("*.onnx")):
        if args.only not in model.name:
            continue
        for target in args.target or TARGETS:
            end = compiled(model, target, options, args.timeout)
            ends.append(end)
            print(f"{end.end:8s} {target:9s} {model.name[:48]:48s} {end.words}", flush=True)
            if args.json:
                rows = [dataclasses.asdict(row) for row in ends]
                args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    for target in args.target or TARGETS:
        print(target, dict(Counter(end.end for end in ends if end.target == target)))
    return 1 if any(end.end == "FAULT" for end in ends) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--target", action="append", help="a target; repeatable")
    parser.add_argument(
        "--with", dest="options", default="", help="more options of bmopt compile, in quotes"
    )
    parser.add_argument("--calib", default="random:4", help="calibration samples")
    parser.add_argument("--duration", type=float, default=0.2, help="of the latency comparison")
    parser.add_argument("--only", default="", help="files whose name contains this")
    parser.add_argument("--edge", action="store_true", help="the edge cases instead of the models")
    parser.add_argument("--timeout", type=float, default=300.0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
