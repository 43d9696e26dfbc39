"""What bmopt's harness adds to a call: the timed loop, and the runner around a session.

Directly: the engine called again and again from a loop that is compiled as well (``map`` and
``repeat`` into a queue without room), the whole timed once. Harness: bmopt's timed loop, which
reads the clock around every call and stores both, over bmopt's runner where there is one. Both
in turns of 2 ms; of each the quietest twentieth of the blocks counts, for other load only ever
adds time.

    python benchmarks/overhead.py [--rounds N] [--json FILE]

Exits with 1 where a call costs over 2 microseconds more than directly.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bmopt.backends.onnxruntime.session import SessionConfig, open_file
from bmopt.bench.clock import MONOTONIC
from bmopt.bench.schedule import Lane, timed
from bmopt.core.runner import Feeds

_MOST_NS = 2000.0
_BLOCK_NS = 2_000_000
_QUIET = 0.05
_IDENTITY = """
<ir_version: 10, opset_import: ["" : 20]>
identity (float[1, 16] x) => (float[1, 16] y) { y = Identity(x) }
"""


@dataclasses.dataclass(frozen=True)
class Overhead:
    """Nanoseconds per call.

    Attributes:
        engine: What was called.
        direct: The engine alone.
        harness: Through bmopt, all that happens between two calls included.
        reported: The median latency that bmopt reports for it.
    """

    engine: str
    direct: float
    harness: float
    reported: float

    @property
    def added(self) -> float:
        """What a call costs more."""
        return self.harness - self.direct


def measure(
    engine: str, direct: Callable[[Feeds], object], through: Callable[[Feeds], Any], rounds: int
) -> Overhead:
    """Time both in turns of blocks."""
    feeds: Feeds = {"x": np.zeros((1, 16), np.float32)}
    lane = Lane(engine, through, [feeds])
    calls = timed(lane, MONOTONIC, _BLOCK_NS)[1].size
    alone, whole, reported = [], [], []
    for _ in range(rounds):
        start = MONOTONIC()
        collections.deque(map(direct, itertools.repeat(feeds, calls)), maxlen=0)
        alone.append((MONOTONIC() - start) / calls)
        starts, latencies = timed(lane, MONOTONIC, _BLOCK_NS)
        whole.append(float(starts[-1] - starts[0]) / (starts.size - 1))
        reported.append(float(np.median(latencies)))
    quiet = [float(np.quantile(values, _QUIET)) for values in (alone, whole, reported)]
    return Overhead(engine, *quiet)


def empty(feeds: Feeds) -> None:
    """Do nothing."""


def identity(rounds: int, folder: Path) -> Overhead:
    """Measure an ONNX Runtime session of one Identity op."""
    path = folder / "identity.onnx"
    onnx.save_model(onnx.parser.parse_model(_IDENTITY), path)
    with open_file(path, SessionConfig(threads=1)) as runner:
        direct = functools.partial(runner.session.run, None)
        return measure("ONNX Runtime, Identity", direct, runner.run, rounds)


def main() -> int:
    """Run the benchmark."""
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bmopt-bench-") as folder:
        found = [
            measure("an empty Python function", empty, empty, args.rounds),
            identity(args.rounds, Path(folder)),
        ]
    print(f"{'ns per call':26}{'direct':>10}{'harness':>10}{'added':>10}{'reported':>10}")
    for one in found:
        cells = (one.direct, one.harness, one.added, one.reported)
        print(f"{one.engine:26}" + "".join(f"{cell:10.0f}" for cell in cells))
    if args.json:
        rows = [{**dataclasses.asdict(one), "added": one.added} for one in found]
        args.json.write_text(json.dumps(rows, indent=1))
    return 0 if all(one.added <= _MOST_NS for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
