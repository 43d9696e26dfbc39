"""Compile every file of the shared zoo, as a user would with random samples.

Each goes through ``bmopt compile --target ort-fp32`` and ``--target ort-int8`` in a process of its
own. A good end is an artifact, or one line of error and exit code 2; anything else is a fault.

    python benchmarks/zoo_compile.py [--only NAME] [--edge] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from shared_models import DEFAULT_DATA

TARGETS = ("ort-fp32", "ort-int8")


def compiled(model: Path, target: str, out: Path, timeout_s: float) -> tuple[str, str]:
    """Return how compiling ended (``ok``, ``refused`` or ``FAULT``), and with which words."""
    argv = [sys.executable, "-m", "bmopt", "compile", str(model), "--target", target]
    argv += ["--calib", "random:4", "--duration", "0.2", "-o", str(out), "--json"]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return "FAULT", f"still running after {timeout_s:.0f} s"
    lines = [line for line in done.stderr.splitlines() if "warning:" not in line]
    if done.returncode == 0 and out.is_dir():
        return "ok", summary(done.stdout)
    if done.returncode == 2 and len(lines) == 1 and not out.exists():
        return "refused", lines[0]
    return "FAULT", f"exit {done.returncode}: {' '.join(done.stderr.split())[-300:]}"


def summary(text: str) -> str:
    """Return the figures of a report in a line."""
    report = json.loads(text)
    accuracy = report.get("accuracy") or {}
    sqnr = accuracy.get("sqnr_db") or {}
    worst = min((float(value) for value in sqnr.values()), default=float("nan"))
    placed = report.get("placement") or {}
    return f"worst SQNR {worst:.1f} dB, {placed.get('integer', 0)} nodes in INT8"


def main() -> int:
    """Run the sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--only", default="", help="files whose name contains this")
    parser.add_argument("--edge", action="store_true", help="the edge cases instead of the models")
    parser.add_argument("--timeout", type=float, default=300.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder = args.data / "zoo" / ("edge" if args.edge else "models")
    rows = []
    for model in sorted(folder.glob("*.onnx")):
        if args.only not in model.name:
            continue
        for target in TARGETS:
            with tempfile.TemporaryDirectory(prefix="bmopt-zoo-") as scratch:
                end, words = compiled(model, target, Path(scratch) / "artifact", args.timeout)
            rows.append({"model": model.name, "target": target, "end": end, "words": words})
            print(f"{end:8s} {target:9s} {model.name[:48]:48s} {words}", flush=True)
    print(dict(Counter(row["end"] for row in rows)))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 1 if any(row["end"] == "FAULT" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
