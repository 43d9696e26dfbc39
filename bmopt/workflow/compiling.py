"""``bmopt compile``: from a trained model to a measured artifact."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.core.dataset import InputSpec
from bmopt.core.digest import of_file
from bmopt.core.files import atomic_folder, require_replaceable
from bmopt.core.host import versions
from bmopt.core.runner import Feeds
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import input_specs, save_model
from bmopt.graph.nesting import nodes_in
from bmopt.workflow import artifact
from bmopt.workflow.files import size_on_disk
from bmopt.workflow.lowering import Quantized, quantized
from bmopt.workflow.measuring import measure_accuracy, measure_latency
from bmopt.workflow.preparing import Job, optimized, prepare
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.quantizing import format_rules, placement_report
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.samples import Samples
from bmopt.workflow.source import as_file

_GOLDEN_FEEDS = 2
_POOR_SQNR_DB = 10.0


@dataclasses.dataclass(frozen=True)
class CompileResult:
    """Where the artifact is and what was measured on it."""

    artifact: Path
    report: dict[str, Any]


def compile_model(
    source: object,
    recipe: Recipe,
    out: Path,
    *,
    progress: Progress | None = None,
    calib: Samples | None = None,
    val: Samples | None = None,
    example_inputs: tuple[Any, ...] | None = None,
) -> CompileResult:
    """Compile ``source`` after ``recipe`` into the artifact folder ``out`` and measure it.

    ``calib`` and ``val`` take what a recipe's text cannot name: arrays, readers, functions.
    The folder appears whole; what is measured afterwards is added as ``report.json``.

    Raises:
        BmoptError: As models, samples, passes, calibration and engines raise it.
    """
    progress = progress or Quiet()
    require_replaceable(out)
    with as_file(source, example_inputs) as path:
        job = prepare(path, recipe, progress, calib=calib, val=val)
        progress.step("optimise")
        model, log = optimized(job)
        lowered = quantized(job, model) if job.target.precision == "int8" else None
        progress.step("write")
        final = model if lowered is None else lowered.model
        pool = job.pool()
        _write(job, final, lowered, pool, out)
        report = _measured(job, final, lowered, pool, out)
        report["passes"] = log
        artifact.write_report(out, _finite(report))
    return CompileResult(out, report)


def _write(
    job: Job, model: ir.Model, lowered: Quantized | None, pool: tuple[Feeds, ...], out: Path
) -> None:
    # Of this host or not: a repeated run is to give the same artifact elsewhere too.
    recipe = dataclasses.replace(job.recipe, target=str(job.target))
    with atomic_folder(out) as folder:
        save_model(model, folder / artifact.MODEL)
        if lowered is not None:
            recipe = dataclasses.replace(
                recipe, method=lowered.plan.method, placement=format_rules(lowered.rules)
            )
            (folder / artifact.RANGES).write_text(lowered.table.to_json(), encoding="utf-8")
            (folder / artifact.PLAN).write_text(lowered.plan.to_json(), encoding="utf-8")
        (folder / artifact.RECIPE).write_text(recipe.to_toml(), encoding="utf-8")
        with job.backend.open(folder / artifact.MODEL, threads=1) as runner:
            artifact.write_golden(folder, runner, pool[:_GOLDEN_FEEDS])
        artifact.write_manifest(folder, _facts(job, model, lowered))


def _facts(job: Job, model: ir.Model, lowered: Quantized | None) -> dict[str, Any]:
    """Return what the artifact was made from; nothing in it depends on when."""
    calib = job.calib
    return {
        "target": str(job.target),
        "versions": versions(),
        "source": {
            "file": job.path.name,
            "sha256": of_file(job.path),
            "digest": model_digest(job.model),
        },
        "model_digest": model_digest(model),
        "pipeline": job.recipe.pipeline,
        "calibration": None
        if calib is None
        else {"name": calib.name, "fingerprint": calib.fingerprint, "samples": calib.size},
        "scheme": None if lowered is None else job.backend.scheme(job.target).why,
        "inputs": [_input(spec) for spec in input_specs(model)],
        "outputs": [value.name for value in model.graph.outputs],
    }


def _input(spec: InputSpec) -> dict[str, Any]:
    shape = None if spec.shape is None else list(spec.shape)
    return {"name": spec.name, "dtype": spec.dtype, "shape": shape}


def _measured(
    job: Job, model: ir.Model, lowered: Quantized | None, pool: tuple[Feeds, ...], out: Path
) -> dict[str, Any]:
    path = out / artifact.MODEL
    warnings: list[str] = []
    report: dict[str, Any] = {
        "bmopt_report": 1,
        "target": str(job.target),
        "source": {"file": str(job.path), "size_bytes": size_on_disk(job.path)},
        "artifact": {"path": str(out), "size_bytes": size_on_disk(path)},
        "inputs": [_input(spec) for spec in input_specs(model)],
        "nodes": {"before": _nodes(job.model), "after": _nodes(model)},
        "versions": versions(),
    }
    report["accuracy"] = _accuracy(job, path, warnings)
    report.update(_latency(job, path, pool, warnings))
    if lowered is not None:
        report["placement"] = _placement(job, lowered, path, warnings)
    for warning in warnings:
        job.progress.warn(warning)
    return {**report, "warnings": warnings}


def _nodes(model: ir.Model) -> int:
    return sum(1 for _ in nodes_in(model.graph))


def _accuracy(job: Job, path: Path, warnings: list[str]) -> dict[str, Any] | None:
    if job.recipe.metric == "none" or job.val is None:
        return None
    job.progress.step("accuracy")
    if job.val_is_calib:
        warnings.append("accuracy was measured on the calibration samples; give --val for more")
    with job.backend.open(job.path) as before, job.backend.open(path) as after:
        report = measure_accuracy(before, after, job.val, job.batch_size, job.recipe.metric)
    worst = min(report.sqnr_db, key=lambda name: report.sqnr_db[name], default=None)
    if worst is not None and report.sqnr_db[worst] < _POOR_SQNR_DB:
        warnings.append(
            f"output {worst!r} is far from the source model's ({report.sqnr_db[worst]:.1f} dB "
            "SQNR): check it on real data, or leave layers in float with --keep-float"
        )
    return {**report.to_dict(), "dataset": job.val.name}


def _latency(job: Job, path: Path, pool: tuple[Feeds, ...], warnings: list[str]) -> dict[str, Any]:
    seconds = job.recipe.duration_s
    able = job.backend.probe(job.target)
    note = able.reason if not able.run else "left out as asked" if seconds <= 0 else ""
    if note or not pool:
        return {"latency": None, "latency_note": note or "there are no inputs to time with"}
    job.progress.step("latency")
    threads = job.recipe.threads
    with (
        job.backend.open(job.path, threads=threads) as before,
        job.backend.open(path, threads=threads) as after,
    ):
        found = measure_latency(before, after, pool, threads=threads, seconds=seconds)
    report = found.to_dict()
    if report["verdict"] == "slower":
        warnings.append(
            f"the artifact is SLOWER than the source model: {report['ratio']:.2f} x its latency"
        )
    return {"latency": report, "latency_note": "", "measurement": found.measurement.to_dict()}


def _placement(job: Job, lowered: Quantized, path: Path, warnings: list[str]) -> dict[str, Any]:
    executed = {entry.node: entry for entry in job.backend.explain(path, lowered.plan)}
    lost = [entry.node for entry in executed.values() if not entry.integer]
    if lost and job.backend.probe(job.target).run:
        warnings.append(f"{len(lost)} nodes planned for integers run in float, first {lost[0]!r}")
    rows = placement_report(
        lowered.float_model, lowered.plan, {name: e.kernel for name, e in executed.items()}
    )
    return {
        "scheme": job.backend.scheme(job.target).why,
        "method": lowered.plan.method,
        "rules": format_rules(lowered.rules),
        "latency_ratios": lowered.ratios,
        "integer": len(lowered.plan.integer),
        "float": len(lowered.plan.float_nodes),
        "nodes": rows,
    }


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return ``value`` with infinities and NaN as strings, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
