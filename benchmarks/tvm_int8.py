"""What TVM's integers are worth: latency beside float and ONNX Runtime, and what they compute.

Every shared model is compiled for ``tvm-fp32``, ``tvm-int8`` and ``ort-int8``. The three run one
sample at a time in this process, taking turns, each turn in one order and then in the other.

What ``tvm-int8`` computes is compared with its own Q/DQ graph, evaluated by ONNX Runtime in float
node by node: the same class for a sample, and top-1. The same comparison of ONNX Runtime's integer
kernels stands beside it, as two valid ways of computing a deep graph differ by steps that one
rounding in a layer sets off. So kernels are compared one by one too, each fed what the graph has:
how many elements of a million are a step off, and how many steps one is at most.

    python benchmarks/tvm_int8.py [--data DIR] [--only NAME] [--threads N] [--seconds S]
        [--device DEVICE] [--json FILE] [--write-docs]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from marks import Marks
from shared_models import DEFAULT_DATA, SharedModel, compiled, shared_models

from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend
from bmopt.backends.onnxruntime.session import open_plain
from bmopt.bench.statistics import estimate
from bmopt.core.measurement import Settings
from bmopt.data.open import open_dataset
from bmopt.graph.model_io import input_specs, load_model

Run = Callable[[], Any]
Arrays = Mapping[str, np.ndarray]
_TARGETS = ("tvm-int8", "tvm-fp32", "ort-int8")
_BLOCK_NS = 5_000_000
_BATCH = 25
_CHECKED = 20
"""Samples that single kernels are compared on."""

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "tvm.md"
_MARKS = Marks("tvm-int8")
_HEADER = (
    "| model | `tvm-int8` | `tvm-fp32` | `ort-int8` | top-1, graph | agrees | ORT | kernels off |",
    "|---|---|---|---|---|---|---|---|",
)


@dataclasses.dataclass(frozen=True)
class Found:
    """One model's measurements.

    Attributes:
        model: Its name.
        threads: Of every engine.
        latency_us: Target -> median latency.
        ratios: Target -> its latency over that of ``tvm-int8``: ratio, low, high.
        samples: Compared.
        top1: Of the library.
        graph_top1: Of its Q/DQ graph.
        agreement: Samples in which the library and the graph name the same class.
        witness: The same of ONNX Runtime's integer kernels and the graph.
        elements: Elements of quantised tensors compared kernel by kernel.
        off: How many of them differ.
        steps: By how many steps at most.
    """

    model: str
    threads: int
    latency_us: dict[str, float]
    ratios: dict[str, tuple[float, float, float]]
    samples: int
    top1: float
    graph_top1: float
    agreement: float
    witness: float
    elements: int
    off: int
    steps: int


def measured(model: SharedModel, args: argparse.Namespace) -> Found | str:
    """Compile a model for all targets and measure; the line of a refusal where there is one."""
    with tempfile.TemporaryDirectory(prefix="bmopt-tvm-") as name:
        folders = {target: Path(name) / target for target in _TARGETS}
        flags = ("--calib-limit", str(args.calib_limit), "--metric", "none")
        for target, folder in folders.items():
            folder.mkdir()
            place = f":{args.device}" if args.device and target.startswith("tvm") else ""
            report = compiled(model, target + place, folder, flags)
            if isinstance(report, str):
                return f"{target}: {report}"
        artifacts = {target: folder / "artifact" for target, folder in folders.items()}
        return _compared(model, artifacts, args)


def _compared(
    model: SharedModel, artifacts: Mapping[str, Path], args: argparse.Namespace
) -> Found:
    graph = artifacts["tvm-int8"] / "model.onnx"
    specs = input_specs(load_model(graph))
    samples = open_dataset(model.val, specs, limit=args.val_limit or None)
    batches = list(samples.batches(_BATCH))
    sample = next(iter(samples.batches(1))).feeds
    runs = [_run(artifacts[target], target, sample, args.threads) for target in _TARGETS]
    rounds = turns(runs, args.seconds)
    engine = OnnxRuntimeBackend()
    library = _library(artifacts["tvm-int8"])
    said: dict[str, list[np.ndarray]] = {"library": [], "graph": [], "witness": []}
    with engine.open_graph(graph, keep_qdq=True) as whole, engine.open_graph(graph) as fast:
        for batch in batches:
            said["library"].append(_classes(library(batch.feeds)[0]))
            said["graph"].append(_classes(next(iter(whole.run(batch.feeds).values()))))
            said["witness"].append(_classes(next(iter(fast.run(batch.feeds).values()))))
    classes = {who: np.concatenate(arrays) for who, arrays in said.items()}
    labels = np.concatenate([np.asarray(batch.labels) for batch in batches])
    elements, off, steps = kernels_off(load_model(graph), batches[0].feeds)
    medians = np.median(rounds, axis=0)
    return Found(
        model=model.name,
        threads=args.threads,
        latency_us={t: float(medians[i]) for i, t in enumerate(_TARGETS)},
        ratios={t: _ratio(rounds, i) for i, t in enumerate(_TARGETS) if i},
        samples=len(labels),
        top1=float(np.mean(classes["library"] == labels)),
        graph_top1=float(np.mean(classes["graph"] == labels)),
        agreement=float(np.mean(classes["library"] == classes["graph"])),
        witness=float(np.mean(classes["witness"] == classes["graph"])),
        elements=elements,
        off=off,
        steps=steps,
    )


def kernels_off(model: ir.Model, feeds: Arrays) -> tuple[int, int, int]:
    """Return elements compared kernel by kernel, how many differ, and the most steps of one."""
    import tvm

    from bmopt.backends.tvm.integers import import_integers
    from bmopt.backends.tvm.separating import separate

    feeds = {name: array[:_CHECKED] for name, array in feeds.items()}
    separated = separate(model)
    with open_plain(separated.whole) as runner:
        wanted = runner.run(feeds)
    inputs = dict(feeds)
    for cut in separated.cuts:
        whole = wanted[cut.tensor].astype(np.float32) - np.float32(cut.zero)
        inputs[cut.fed] = whole * np.float32(cut.scale)
    cpu = tvm.target.codegen.llvm_get_system_cpu()
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu, "num-cores": 1})
    machine = tvm.relax.VirtualMachine(
        tvm.compile(import_integers(separated.parts, target), target), tvm.cpu()
    )
    order = [value.name or "" for value in separated.parts.graph.inputs]
    answers = machine["main"](*[tvm.runtime.tensor(inputs[name]) for name in order])
    names = [value.name or "" for value in separated.parts.graph.outputs]
    found = {name: one.numpy() for name, one in zip(names, answers, strict=True)}
    gaps = [
        np.abs(found[cut.tensor].astype(int) - wanted[cut.tensor].astype(int)).ravel()
        for cut in separated.cuts
    ]
    every = np.concatenate(gaps)
    return every.size, int(np.count_nonzero(every)), int(every.max())


def _classes(output: np.ndarray) -> np.ndarray:
    return output.reshape(len(output), -1).argmax(axis=1)


def _library(artifact: Path) -> Callable[[Arrays], list[np.ndarray]]:
    import tvm

    machine = tvm.relax.VirtualMachine(
        tvm.runtime.load_module(str(artifact / "model.so")), tvm.cpu()
    )

    def run(feeds: Arrays) -> list[np.ndarray]:
        tensors = [tvm.runtime.tensor(np.ascontiguousarray(array)) for array in feeds.values()]
        return [one.numpy() for one in machine["main"](*tensors)]

    return run


def _run(artifact: Path, target: str, feeds: Arrays, threads: int) -> Run:
    """Return what runs an artifact on one sample, without anything of ours around it."""
    if target.startswith("ort"):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        path = str(artifact / "model.onnx")
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, feeds)
    import tvm

    machine = tvm.relax.VirtualMachine(
        tvm.runtime.load_module(str(artifact / "model.so")), tvm.cpu()
    )
    function, tensors = machine["main"], [tvm.runtime.tensor(array) for array in feeds.values()]
    return lambda: function(*tensors)


def turns(runs: Sequence[Run], seconds: float) -> np.ndarray:
    """Return the mean latencies of blocks in us, ``[rounds, runs]``; every other in reverse."""
    for run in runs:
        _block_us(run)
    rounds: list[list[float]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(rounds) % 2 or len(rounds) < 20:
        order = range(len(runs))
        found = {i: _block_us(runs[i]) for i in (order if len(rounds) % 2 else reversed(order))}
        rounds.append([found[i] for i in order])
    return np.array(rounds)


def _block_us(run: Run) -> float:
    start, count = time.perf_counter_ns(), 0
    while True:
        run()
        count += 1
        passed = time.perf_counter_ns() - start
        if passed >= _BLOCK_NS:
            return passed / count / 1e3


def _ratio(rounds: np.ndarray, other: int) -> tuple[float, float, float]:
    found = estimate(np.log(rounds[:, other] / rounds[:, 0]), Settings())
    return found.ratio, found.low, found.high


def row(found: Found) -> str:
    """Return a row of the page's table."""
    (slower, low, high), (ort_slower, ort_low, ort_high) = (
        found.ratios[target] for target in _TARGETS[1:]
    )
    million = 1e6 * found.off / found.elements
    return (
        f"| {found.model} | {found.latency_us['tvm-int8']:.0f} µs "
        f"| {slower:.2f} x ({low:.2f} to {high:.2f}) "
        f"| {ort_slower:.2f} x ({ort_low:.2f} to {ort_high:.2f}) "
        f"| {100 * found.top1:.2f} %, {100 * found.graph_top1:.2f} % "
        f"| {100 * found.agreement:.2f} % | {100 * found.witness:.2f} % "
        f"| {million:.1f} ppm, {found.steps} at most |"
    )


def main() -> int:
    """Run the benchmark."""
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--threads", type=int, default=1, help="of each engine")
    parser.add_argument("--seconds", type=float, default=10.0, help="of every comparison")
    parser.add_argument("--calib-limit", type=int, default=256, help="0: all")
    parser.add_argument("--val-limit", type=int, default=2000, help="0: all")
    parser.add_argument("--device", default="", help="of the tvm targets, as x86-avx2")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write-docs", action="store_true", help="write the table to the page")
    args = parser.parse_args()
    if args.write_docs:
        _MARKS.require(_PAGE)
    # TVM reads it when its library starts.
    os.environ["TVM_NUM_THREADS"] = str(args.threads)
    all_found: list[Found] = []
    print("\n".join(_HEADER), flush=True)
    refused = False
    for model in shared_models(args.data, args.only):
        found = measured(model, args)
        if isinstance(found, str):
            print(f"{model.name}: {found}", file=sys.stderr)
            refused = True
            continue
        all_found.append(found)
        print(row(found), flush=True)
    if args.json:
        rows = [dataclasses.asdict(one) for one in all_found]
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if args.write_docs and not refused:
        _MARKS.put(_PAGE, "\n".join((*_HEADER, *map(row, all_found))))
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
