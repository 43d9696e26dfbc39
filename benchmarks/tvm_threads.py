"""How fast TVM's untuned code is beside ONNX Runtime, on one thread and on all.

Every shared convolutional model is compiled for ``tvm-fp32`` and compared with its source by
``bmopt bench``: each in a process of its own, stopped while the other has its turn, as the threads
of both spin after their work and would take each other's cores. Ratios are TVM's latency over ONNX
Runtime's, with their 99 % intervals; below 1, TVM is faster.

    python benchmarks/tvm_threads.py [--data DIR] [--only NAME] [--seconds S] [--json FILE]
        [--write-docs]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from marks import Marks
from shared_models import DEFAULT_DATA, SharedModel, shared_models

from bmopt.bench.statistics import ratio
from bmopt.core.measurement import Measurement

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tvm.md"
HEADINGS = ("model", "one thread", "all threads")
_TRANSFORMERS = ("vit",)


def document(*argv: str) -> dict[str, Any]:
    """Return the JSON that a command prints."""
    command = [sys.executable, "-m", "bmopt", *argv, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ratios(model: SharedModel, folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the comparison on one thread and on all."""
    artifact = str(folder / "artifact")
    document("compile", str(model.path), "--target", "tvm-fp32", "--duration", "0", "-o", artifact)
    found = []
    for threads in (1, len(os.sched_getaffinity(0))):
        flags = ("--threads", str(threads), "--duration", str(args.seconds), "--only", "latency")
        report = document("bench", str(model.path), artifact, *flags)
        measurement = Measurement.from_dict(report["measurement"])
        found.append(ratio(measurement, *measurement.variants[:2]).to_dict())
    return found


def cell(found: dict[str, Any]) -> str:
    """Return a ratio with its interval."""
    return f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--seconds", type=float, default=6.0, help="of every comparison")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write-docs", action="store_true", help="write the table to the page")
    args = parser.parse_args()
    rows, kept = [HEADINGS, ("---",) * len(HEADINGS)], {}
    for model in shared_models(args.data, args.only):
        if model.name.startswith(_TRANSFORMERS):
            continue
        with tempfile.TemporaryDirectory(prefix="bmopt-tvm-") as folder:
            kept[model.name] = ratios(model, Path(folder), args)
        rows.append((model.name, *map(cell, kept[model.name])))
        print(*rows[-1], sep="  ", flush=True)
    if args.json:
        args.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    if args.write_docs:
        Marks("tvm-threads").put(PAGE, "\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    main()
