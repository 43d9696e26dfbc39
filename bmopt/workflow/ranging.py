"""``bmopt calibrate``: from samples to a range table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.errors import UsageError
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.source import as_file

if TYPE_CHECKING:
    import onnx_ir as ir

    from bmopt.core.backend import Reference
    from bmopt.core.dataset import Dataset
    from bmopt.core.ranges import RangeTable
    from bmopt.core.runner import Runner


def calibrate_model(
    source: Path,
    data: str,
    out: Path,
    *,
    pipeline: str = "",
    preprocess: Sequence[str] = (),
    limit: int = 0,
    batch_size: int = 16,
    threads: int = 1,
    shapes: Sequence[str] = (),
    seed: int = 0,
    channels: Sequence[str] = (),
    progress: Progress | None = None,
) -> RangeTable:
    """Measure the ranges of the activations of ``source`` and write the table to ``out``.

    ``pipeline`` runs on the model first; the table belongs to its result. ``channels`` has
    ``TENSOR:AXIS`` entries: tensors for which every index of an axis is watched too.

    Raises:
        BmoptError: As loading, the pipeline, the samples and calibration raise it.
    """
    from bmopt.backends.registry import reference
    from bmopt.core.files import write_text
    from bmopt.graph.model_io import load_model
    from bmopt.optimizer.pipeline import Pipeline
    from bmopt.workflow.samples import SampleOptions, open_samples
    from bmopt.workflow.shapes import fix_shapes, parse_shapes, static_axes

    progress = progress or Quiet()
    axes = parse_channels(channels)
    engine = reference()
    with as_file(source) as path:
        model = load_model(path)
    fix_shapes(model, static_axes(parse_shapes(shapes)))
    options = SampleOptions(tuple(preprocess), limit, seed)
    dataset = open_samples(data, model, engine.open_checked, options)
    if pipeline:
        progress.step("optimise")
        model = Pipeline.parse(pipeline).run(model).model
    progress.step("calibrate")
    table = calibrated(
        model,
        dataset,
        engine,
        batch_size=batch_size,
        threads=threads,
        progress=progress,
        channels=axes,
    )
    write_text(out, table.to_json())
    return table


def calibrated(
    model: ir.Model,
    dataset: Dataset,
    engine: Reference,
    *,
    batch_size: int,
    threads: int,
    progress: Progress,
    channels: Mapping[str, int] | None = None,
) -> RangeTable:
    """Return the range table of ``model`` on ``dataset``."""
    from bmopt.calibration.collect import collect_ranges
    from bmopt.graph.model_digest import model_digest

    def open_tapped(tapped: ir.Model) -> Runner:
        return engine.open_tapped(tapped, threads=threads)

    return collect_ranges(
        model,
        dataset,
        open_tapped,
        model_digest=model_digest(model),
        batch_size=batch_size,
        channels=channels,
        threads=threads,
        progress=progress.advance,
    )


def parse_channels(entries: Sequence[str]) -> dict[str, int]:
    """Return tensor -> axis from ``TENSOR:AXIS`` entries.

    Raises:
        UsageError: An entry has another form.
    """
    axes: dict[str, int] = {}
    for entry in entries:
        name, _, axis = entry.rpartition(":")
        if not name or not axis.removeprefix("-").isdecimal():
            raise UsageError(f"channels {entry!r}: write it as TENSOR:AXIS, for example conv1:1")
        axes[name] = int(axis)
    return axes
