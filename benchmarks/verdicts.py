"""How often ``bmopt bench`` is right: a model against itself, and against itself made 3 % slower.

The slower one waits, after every inference, for 3 % of the time that the inference took. The whole
of ``bmopt bench`` runs, a process for every model, on the shipped model or any ONNX file; or with
``--simulated`` its schedule and statistics on hosts that exist in a clock only, with the
disturbances of shared machines.

    python benchmarks/verdicts.py [--model FILE --data SPEC] [--runs N] [--simulated] [--json FILE]

Exits with 1 where a target is missed: of 100 runs of a model against itself at most 5 may call a
difference and 90 must be equivalent; 95 must call 3 % slower.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from simulated_host import NOISES, Noise, SimulatedHost, SimulatedRunner
from slowed_worker import SLOWED, SLOWER

from bmopt.bench.compare import SAME, compare_latency
from bmopt.bench.environment import HostLoad
from bmopt.bench.statistics import RatioEstimate, ratio
from bmopt.core.measurement import Environment, Measurement
from bmopt.demo_data import demo_files
from bmopt.errors import BmoptError
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.running import run_bench

_SIMULATED_NS = 1_000_000.0
_TARGETS = {"different": 0.05, "equivalent": 0.90, "slower": 0.95}


@dataclasses.dataclass(frozen=True)
class Tally:
    """Verdicts of many runs.

    Attributes:
        case: The host.
        truth: ``same`` or ``+3 %``.
        verdicts: How often each was given.
        seconds: Median length of a run, as its clock had it.
        worst: The largest error of a ratio.
        met: Whether the target was.
    """

    case: str
    truth: str
    verdicts: Mapping[str, int]
    seconds: float
    worst: float
    met: bool


Compare = Callable[[bool, int], Measurement]
"""Whether the second is made slower, and a seed -> the comparison."""


def simulated(noise: Noise, args: argparse.Namespace) -> Compare:
    """Return comparisons on a host with this noise."""

    def compare(slower: bool, seed: int) -> Measurement:
        host = SimulatedHost(noise, seed)
        second = _SIMULATED_NS * (1.0 + SLOWER * slower)
        return compare_latency(
            {
                SAME[0]: SimulatedRunner(host, _SIMULATED_NS),
                SAME[1]: SimulatedRunner(host, second),
            },
            [{}],
            clock=host,
            duration_s=args.duration,
            precision=args.precision,
            block_ms=BenchOptions().block_ms,
            seed=seed,
            environment=Environment({}),
            load=lambda: HostLoad(None, None, None, None),
        )

    return compare


def real(args: argparse.Namespace) -> Compare:
    """Return comparisons of the model with itself, in processes of their own."""
    # The children import slowed_worker from here.
    folders = (str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", ""))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))

    def compare(slower: bool, seed: int) -> Measurement:
        options = BenchOptions(
            data=args.data,
            threads=args.threads,
            duration_s=args.duration,
            precision=args.precision,
            seed=seed,
            only=("latency",),
        )
        second = f"{SLOWED}{args.model}" if slower else str(args.model)
        found = run_bench([str(args.model), second], options, module="slowed_worker")
        if found.document.measurement is None or found.failures:
            raise BmoptError(f"nothing was measured: {dict(found.failures)}")
        return found.document.measurement

    return compare


def tally(case: str, slower: bool, compare: Compare, args: argparse.Namespace) -> Tally:
    """Run many comparisons and count their verdicts."""
    truth = 1.0 + SLOWER * slower
    found: list[RatioEstimate] = []
    lengths: list[float] = []
    for seed in range(args.runs):
        measurement = compare(slower, seed)
        found.append(ratio(measurement, *measurement.variants))
        last = measurement.blocks[-1]
        lengths.append((last.start_ns[-1] + last.latency_ns[-1]) / 1e9)
        if args.verbose:
            one = found[-1]
            print(
                f"  {one.verdict:10} {one.ratio:.4f} [{one.low:.4f}, {one.high:.4f}]", flush=True
            )
    verdicts = collections.Counter[str](one.verdict for one in found)
    return Tally(
        case=case,
        truth="+3 %" if slower else "same",
        verdicts=dict(verdicts),
        seconds=sorted(lengths)[len(lengths) // 2],
        worst=max(abs(one.ratio / truth - 1.0) for one in found),
        met=_met(slower, verdicts, args.runs),
    )


def _met(slower: bool, verdicts: Mapping[str, int], runs: int) -> bool:
    share = {name: verdicts.get(name, 0) / runs for name in ("faster", "slower", "equivalent")}
    if slower:
        return share["slower"] >= _TARGETS["slower"]
    different = share["faster"] + share["slower"]
    return different <= _TARGETS["different"] and share["equivalent"] >= _TARGETS["equivalent"]


def show(one: Tally) -> None:
    """Print a row."""
    cells = [one.verdicts.get(name, 0) for name in ("faster", "slower", "equivalent", "undecided")]
    print(
        f"{one.case:14} {one.truth:5}"
        + "".join(f"{cell:11}" for cell in cells)
        + f"{one.seconds:8.1f} s {100 * one.worst:7.2f} %   {'met' if one.met else 'MISSED'}",
        flush=True,
    )


def main() -> int:
    """Run the benchmark."""
    demo = demo_files()
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--model", type=Path, default=demo.model, help="an ONNX file")
    parser.add_argument("--data", default=str(demo.calib), help="its samples")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100, help="of each case")
    parser.add_argument("--precision", type=float, default=0.02)
    parser.add_argument("--duration", type=float, default=10.0, help="seconds per run at most")
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--only", default="", help="simulated hosts whose name contains this")
    parser.add_argument("--verbose", action="store_true", help="print every run")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cases = {args.model.name: real(args)} if not args.simulated else {}
    if args.simulated:
        cases = {name: simulated(noise, args) for name, noise in NOISES.items()}
    print(f"{'':20}{'faster':>11}{'slower':>11}{'equivalent':>11}{'undecided':>11}{'median':>10}")
    found = []
    for name, compare in cases.items():
        for slower in (False, True) if args.only in name else ():
            found.append(tally(name, slower, compare, args))
            show(found[-1])
    if args.json:
        args.json.write_text(json.dumps([dataclasses.asdict(one) for one in found], indent=1))
    return 0 if all(one.met for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
