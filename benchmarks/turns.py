"""What the schedule of ``bmopt bench`` owes to short blocks, and to opening models again.

A model against itself, each in a process of its own, for ``--duration`` seconds whatever the
interval: with blocks of several lengths, and with the models staying where they were opened. For
each the median width of the interval at the end, the median time until it is 2 % wide for the
first time, how many of the runs end with an interval that excludes 1, which is wrong, and how far
the ratios scatter. The cases take turns.

    python benchmarks/turns.py [--model FILE --data SPEC] [--runs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import sys
from pathlib import Path

import numpy as np

from bmopt.bench.statistics import FEWEST_TURNS_TO_STOP, estimate, log_latencies
from bmopt.core.measurement import Measurement
from bmopt.demo_data import demo_files
from bmopt.errors import BmoptError
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.running import run_bench
from bmopt.workflow.benching.workers import WORKER

_CASES = tuple(
    (block, module) for module in (WORKER, "still_worker") for block in (20.0, 10.0, 5.0, 2.0)
)
_NEVER = 1e-9
_WIDE = 0.02


@dataclasses.dataclass(frozen=True)
class Found:
    """One run.

    Attributes:
        seconds: Until the interval was 2 % wide; None where it never was.
        width: Of the interval at the end, relative to the ratio.
        is_wrong: Whether the interval at the end excludes 1.
        ratio: The ratio, which is 1 in truth.
    """

    seconds: float | None
    width: float
    is_wrong: bool
    ratio: float


def measured(args: argparse.Namespace, block_ms: float, module: str, seed: int) -> Found:
    """Run a comparison of the model with itself."""
    options = BenchOptions(
        data=args.data,
        duration_s=args.duration,
        precision=_NEVER,
        block_ms=block_ms,
        seed=seed,
        only=("latency",),
    )
    result = run_bench([str(args.model)] * 2, options, module=module)
    measurement = result.document.measurement
    if measurement is None or result.failures:
        raise BmoptError(f"nothing was measured: {dict(result.failures)}")
    return found(measurement)


def found(measurement: Measurement) -> Found:
    """Return what a measurement says at its end, and when its interval was narrow first."""
    first, second = (
        [block for block in measurement.blocks if block.variant == name]
        for name in measurement.variants
    )
    logs = log_latencies(second) - log_latencies(first)
    turns, seconds = FEWEST_TURNS_TO_STOP, None
    while seconds is None and 2 * turns <= logs.size:
        if estimate(logs[: 2 * turns], measurement.settings).relative_width <= _WIDE:
            seconds = first[2 * turns - 1].start_ns[-1] / 1e9
        turns = max(turns + 1, math.ceil(1.05 * turns))
    end = estimate(logs, measurement.settings)
    return Found(seconds, end.relative_width, not end.low <= 1.0 <= end.high, end.ratio)


def row(block_ms: float, module: str, runs: list[Found]) -> str:
    """Return a row of the table."""
    times = [math.inf if one.seconds is None else one.seconds for one in runs]
    spread = float(np.std([math.log(one.ratio) for one in runs]))
    how = "opened again" if module == WORKER else "left in place"
    return (
        f"{block_ms:5g} ms  {how:14} {100 * statistics.median(o.width for o in runs):8.2f} % "
        f"{statistics.median(times):8.2f} s {sum(o.is_wrong for o in runs):5d} of {len(runs)} "
        f"{100 * spread:8.2f} %"
    )


def main() -> int:
    """Run the benchmark."""
    demo = demo_files()
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--model", type=Path, default=demo.model, help="an ONNX file")
    parser.add_argument("--data", default=str(demo.calib), help="its samples")
    parser.add_argument("--runs", type=int, default=10, help="of each case")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds of every run")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folders = (str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", ""))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    all_runs: dict[tuple[float, str], list[Found]] = {case: [] for case in _CASES}
    for seed in range(args.runs):
        for block_ms, module in _CASES:
            all_runs[block_ms, module].append(measured(args, block_ms, module, seed))
        print(f"{seed + 1} of {args.runs}", file=sys.stderr, flush=True)
    print(f"{'block':8}  {'models are':14} {'width':>10} {'until 2 %':>10} {'wrong':>11}  scatter")
    for (block_ms, module), runs in all_runs.items():
        print(row(block_ms, module, runs))
    if args.json:
        rows = [
            {"block_ms": block_ms, "module": module, **dataclasses.asdict(one)}
            for (block_ms, module), runs in all_runs.items()
            for one in runs
        ]
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
