"""``ort-int8`` beside every model that ONNX Runtime's ``quantize_static`` can make.

For each shared model: the grid of activation type x weight type x per-channel x calibrator, after
ONNX Runtime's own pre-processing and on the same calibration samples; those that agree with FP32
on at least 80 % of the validation samples are timed in turns with bmopt's artifact and the FP32
model, one thread, batch 1. First all briefly, then the three fastest at length.

    python benchmarks/ort_int8.py [--only NAME] [--calib-limit N] [--val-limit N] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import itertools
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from shared_models import DEFAULT_DATA, SharedModel, shared_models

from bmopt.backends.onnxruntime.session import ENGINE_ERRORS, SessionConfig, open_file
from bmopt.bench.accuracy import compare_accuracy
from bmopt.bench.compare import compare_latency
from bmopt.bench.statistics import RatioEstimate, ratio
from bmopt.core.dataset import Dataset
from bmopt.core.runner import Feeds, Runner
from bmopt.data.open import open_dataset
from bmopt.errors import BmoptError
from bmopt.graph.model_io import input_specs, load_model
from bmopt.workflow.artifact import MODEL
from bmopt.workflow.compiling import compile_model
from bmopt.workflow.recipe import Recipe

_LEAST_AGREEMENT = 0.8
_FINALISTS = 3


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """The calibration samples as ONNX Runtime wants them."""

    def __init__(self, dataset: Dataset) -> None:
        self._batches = dataset.batches(1)

    def get_next(self) -> Feeds | None:
        """Return the next sample, None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else dict(batch.feeds)


@dataclasses.dataclass(frozen=True)
class Row:
    """One model's result; ratios are bmopt's latency over the other's."""

    model: str
    best: str
    best_agreement: float
    agreement: float
    to_best: dict[str, Any]
    to_fp32: dict[str, Any]
    grid: dict[str, str]


def grid() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a name and arguments of ``quantize_static`` for every combination."""
    activations = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    choices = itertools.product(activations, activations, (True, False), methods)
    for activation, weight, per_channel, method in choices:
        yield (
            f"{activation}/{weight}/{'channel' if per_channel else 'tensor'}/{method}",
            {
                "activation_type": activations[activation],
                "weight_type": activations[weight],
                "per_channel": per_channel,
                "calibrate_method": methods[method],
            },
        )


def measure(model: SharedModel, args: argparse.Namespace, folder: Path) -> Row:
    """Measure one model."""
    specs = input_specs(load_model(model.path))
    calib = open_dataset(model.calib, specs, limit=args.calib_limit or None)
    val = open_dataset(model.val, specs, limit=args.val_limit or None)
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(model.path), str(prepared))
    files, notes, agreements = {}, {}, {}
    with opened(model.path) as reference:
        for name, options in grid():
            path = folder / f"{name.replace('/', '-')}.onnx"
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    quantize_static(str(prepared), str(path), Reader(calib), **options)
                with opened(path) as runner:
                    found = compare_accuracy(reference, runner, val, args.batch).agreement or 0.0
            except (*ENGINE_ERRORS, BmoptError, AssertionError, TypeError, KeyError) as error:
                notes[name] = f"fails: {' '.join(str(error).split())[:60]}"
                continue
            notes[name] = f"agrees on {found:.1%}"
            if found >= _LEAST_AGREEMENT:
                files[name], agreements[name] = path, found
    recipe = Recipe(
        calib=model.calib,
        val=model.val,
        calib_limit=args.calib_limit,
        val_limit=args.val_limit,
        duration_s=args.duration,
    )
    report = compile_model(model.path, recipe, folder / "artifact").report
    ours = {"bmopt": folder / "artifact" / MODEL}
    feeds = tuple(batch.feeds for batch in itertools.islice(val.batches(1), 16))
    brief = timed({**ours, **files}, feeds, args.brief * (1 + len(files)))
    finalists = sorted(files, key=lambda name: brief[name].ratio)[:_FINALISTS]
    final = timed(
        {**ours, "fp32": model.path, **{name: files[name] for name in finalists}},
        feeds,
        args.duration * (2 + len(finalists)),
    )
    best = min(finalists, key=lambda name: final[name].ratio)
    return Row(
        model=model.name,
        best=best,
        best_agreement=agreements[best],
        agreement=report["accuracy"]["agreement"],
        to_best=inverse(final[best]),
        to_fp32=inverse(final["fp32"]),
        grid=notes,
    )


def opened(path: Path, threads: int = 0) -> contextlib.AbstractContextManager[Runner]:
    """Open a file in ONNX Runtime with all its optimisations."""
    return open_file(path, SessionConfig(threads=threads))


def timed(
    files: Mapping[str, Path], feeds: Sequence[Feeds], seconds: float
) -> dict[str, RatioEstimate]:
    """Time all in turns; return each one's latency over that of the first."""
    with contextlib.ExitStack() as stack:
        runners = {
            name: stack.enter_context(opened(path, threads=1)) for name, path in files.items()
        }
        measured = compare_latency(
            runners, feeds, duration_s=seconds, block_ms=10.0, precision=0.004
        )
    first, *others = files
    return {name: ratio(measured, first, name) for name in others}


def inverse(found: RatioEstimate) -> dict[str, Any]:
    """Return first over other, from other over first."""
    return {
        "ratio": 1 / found.ratio,
        "low": 1 / found.high,
        "high": 1 / found.low if found.low else None,
    }


def show(rows: Sequence[Row]) -> None:
    """Print a Markdown table."""
    print(
        "| model | fastest of quantize_static | agrees | ours agrees | ours / it | ours / fp32 |"
    )
    print("|---|---|---|---|---|---|")
    for row in rows:
        cells = [
            f"{r['ratio']:.3f} [{r['low']:.3f}, {r['high'] or float('inf'):.3f}]"
            for r in (row.to_best, row.to_fp32)
        ]
        print(
            f"| {row.model} | {row.best} | {row.best_agreement:.1%} | {row.agreement:.1%} "
            f"| {cells[0]} | {cells[1]} |",
            flush=True,
        )


def main() -> None:
    """Run the benchmark."""
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--calib-limit", type=int, default=128)
    parser.add_argument("--val-limit", type=int, default=500)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--brief", type=float, default=0.4, help="seconds per model of the grid")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds per finalist")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = []
    for model in shared_models(args.data, args.only):
        with tempfile.TemporaryDirectory(prefix="bmopt-bench-") as folder:
            rows.append(measure(model, args, Path(folder)))
        show(rows[-1:])
    show(rows)
    if args.json:
        args.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
