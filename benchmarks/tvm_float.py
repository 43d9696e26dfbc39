"""How fast TVM code is beside ONNX Runtime, untuned and tuned: both in this process, in turns.

With more threads than one, use tvm_threads.py: threads that spin disturb the other engine here.

Every shared convolutional model in float, one sample a run, with ``--threads`` for both. A turn
runs both in one order and then in the other. Ratios are TVM's latency over ONNX Runtime's, with
their 99 % intervals; below 1, TVM is faster. With ``--tune``, the model's kernels are tuned first,
and the row "tuned" has the schedules that were found beside the row of those that were not.

    python benchmarks/tvm_float.py [--data DIR] [--threads N] [--seconds S] [--default]
        [--tune BUDGET [--tuning-database DIR]]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from shared_models import DEFAULT_DATA, SharedModel, shared_models

from bmopt.bench.statistics import estimate
from bmopt.core.measurement import Settings

Result = Any
Native = Any
Run = Callable[[], Result]
OURS, TUNED, THEIRS = "ours", "tuned", "TVM's"
_BLOCK_NS = 5_000_000
_FEWEST = 2
"""Convolutions of a convolutional model; transformers have one."""


@dataclasses.dataclass(frozen=True)
class Found:
    """One model's measurements.

    Attributes:
        model: Its name.
        threads: Of both engines.
        lowering: Whose schedules TVM ran: ours, ours tuned, or its own.
        tvm_us: Median latency of TVM.
        ort_us: Median latency of ONNX Runtime.
        ratio: Of the latencies.
        low: Lower end of its interval.
        high: Upper end of its interval.
        difference: Largest difference of the outputs, as a part of the largest output.
        seconds: Spent lowering and compiling.
    """

    model: str
    threads: int
    lowering: str
    tvm_us: float
    ort_us: float
    ratio: float
    low: float
    high: float
    difference: float
    seconds: float


def simplified(model: SharedModel, folder: Path) -> onnx.ModelProto:
    """Return the model as our passes leave it."""
    out = folder / f"{model.name}.onnx"
    argv = [sys.executable, "-m", "bmopt", "optimize", str(model.path), "-o", str(out)]
    subprocess.run(argv, check=True, capture_output=True)
    return onnx.load(out)


def target_of(threads: int) -> dict[str, Any]:
    """Return the dictionary of this host's target."""
    import tvm

    cpu = tvm.target.codegen.llvm_get_system_cpu()
    return {"kind": "llvm", "mcpu": cpu, "num-cores": threads}


def lowered(model: onnx.ModelProto, threads: int, writer: Native) -> Native:
    """Return the model with our schedules, as ``writer`` writes them."""
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    from bmopt.backends.tvm.lowering import lower
    from bmopt.backends.tvm.tuning.decisions import writing

    with writing(writer):
        return lower(from_onnx(model), tvm.target.Target(target_of(threads)), threads=threads)


def tuned(model: onnx.ModelProto, args: argparse.Namespace) -> Native:
    """Tune a model's kernels; return the database with what was found."""
    import tvm

    from bmopt.backends.tvm.tuning.database import Database
    from bmopt.backends.tvm.tuning.tasks import KernelWriter
    from bmopt.backends.tvm.tuning.trials import Trials, Where
    from bmopt.backends.tvm.tuning.tuner import Tuner
    from bmopt.core.tuning_budget import TuningBudget

    writer, target = KernelWriter(), target_of(args.threads)
    tasks = writer.tasks(lowered(model, args.threads, writer))
    folder = args.tuning_database or Path(tempfile.mkdtemp(prefix="bmopt-tuning-"))
    database = Database(folder, str(tvm.__version__), {"target": target})
    budget = TuningBudget.parse(args.tune)
    with Trials(Where(target)) as trials:
        found = Tuner(database, trials, budget, args.threads, lambda *_: None).run(tasks)
    print(f"  {found}", flush=True)
    return database


def tvm_run(model: onnx.ModelProto, sample: np.ndarray, threads: int, writer: Native) -> Run:
    """Return what runs the model in TVM, with our schedules where there is a ``writer``."""
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    target = tvm.target.Target(target_of(threads))
    module = lowered(model, threads, writer) if writer is not None else from_onnx(model)
    machine = relax.VirtualMachine(tvm.compile(module, target), tvm.cpu())
    function, data = machine["main"], tvm.runtime.tensor(sample)
    return lambda: function(data)


def ort_run(path: Path, sample: np.ndarray, threads: int) -> Run:
    """Return what runs the model in ONNX Runtime, with all its optimisations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: sample}
    return lambda: session.run(None, feeds)


def turns(runs: tuple[Run, Run], seconds: float) -> np.ndarray:
    """Return the mean latencies of blocks, ``[rounds, 2]``; every other round is in reverse."""
    for run in runs:
        _block_us(run)
    rounds: list[list[float]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(rounds) % 2 or len(rounds) < 20:
        order = (0, 1) if len(rounds) % 2 == 0 else (1, 0)
        found = {which: _block_us(runs[which]) for which in order}
        rounds.append([found[0], found[1]])
    return np.array(rounds)


def _block_us(run: Run) -> float:
    start, count = time.perf_counter_ns(), 0
    while True:
        run()
        count += 1
        passed = time.perf_counter_ns() - start
        if passed >= _BLOCK_NS:
            return passed / count / 1e3


def measured(model: SharedModel, args: argparse.Namespace, lowering: str) -> Found:
    """Compile a model, check what it computes and measure it."""
    from bmopt.backends.tvm.tuning.tasks import KernelWriter

    with tempfile.TemporaryDirectory() as folder:
        proto = simplified(model, Path(folder))
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    shape = [one.dim_value or 1 for one in dims]
    sample = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    start = time.monotonic()
    writer = None if lowering == THEIRS else KernelWriter()
    if lowering == TUNED:
        writer = KernelWriter(tuned(proto, args).chosen)
    ours = tvm_run(proto, sample, args.threads, writer)
    seconds = time.monotonic() - start
    theirs = ort_run(model.path, sample, args.threads)
    rounds = turns((ours, theirs), args.seconds)
    logs = np.log(rounds[:, 0] / rounds[:, 1])
    ratio = estimate(logs, Settings())
    medians = np.median(rounds, axis=0)
    return Found(
        model.name, args.threads, lowering, float(medians[0]),
        float(medians[1]), ratio.ratio, ratio.low, ratio.high, _difference(ours(), theirs()),
        seconds,
    )  # fmt: skip


def _difference(ours: Result, theirs: list[np.ndarray]) -> float:
    first = ours if hasattr(ours, "numpy") else ours[0]
    return float(np.abs(first.numpy() - theirs[0]).max() / np.abs(theirs[0]).max())


def row(found: Found) -> str:
    """Return a row of the table."""
    return (
        f"{found.model:32} {found.lowering:6} {found.tvm_us:9.1f} {found.ort_us:9.1f} "
        f"{found.ratio:7.2f}  {found.low:.2f} to {found.high:.2f}  {found.difference:9.1e} "
        f"{found.seconds:6.1f} s"
    )


def main() -> int:
    """Run the benchmark."""
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--threads", type=int, default=1, help="of each engine")
    parser.add_argument("--seconds", type=float, default=5.0, help="of every comparison")
    parser.add_argument("--default", action="store_true", help="also TVM's own schedules")
    parser.add_argument("--tune", default="", help="budget of tuning: 200, 20min ...")
    parser.add_argument("--tuning-database", type=Path, help="where trials are kept")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    # TVM reads it when its library starts.
    os.environ["TVM_NUM_THREADS"] = str(args.threads)
    all_found: list[Found] = []
    lowerings = [OURS, *([TUNED] if args.tune else []), *([THEIRS] if args.default else [])]
    print(f"{'model':32} {'lowers':6} {'TVM us':>9} {'ORT us':>9} {'ratio':>7}  {'interval':12}  "
          f"{'difference':9} {'compiled in'}")  # fmt: skip
    for model in shared_models(args.data, args.only):
        if sum(node.op_type == "Conv" for node in onnx.load(model.path).graph.node) < _FEWEST:
            continue
        for lowering in lowerings:
            all_found.append(measured(model, args, lowering))
            print(row(all_found[-1]), flush=True)
    if args.json:
        rows = [dataclasses.asdict(one) for one in all_found]
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
