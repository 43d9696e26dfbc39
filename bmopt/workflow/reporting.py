"""What is measured on a fresh artifact, as the document ``report.json``."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from bmopt.bench.budget import Budget
from bmopt.core.engine import BuildOptions, EngineBuild
from bmopt.core.host import versions
from bmopt.core.runner import Feeds, Runner
from bmopt.core.target import HALVES, QUANTIZED, Target
from bmopt.graph.model_io import input_specs, load_model
from bmopt.graph.nesting import nodes_in
from bmopt.workflow.accuracy_options import budget_in
from bmopt.workflow.auditing import Audit, audit, fallbacks, integer_work
from bmopt.workflow.demands import missed
from bmopt.workflow.engines import MODEL, Opener, facts, read_options
from bmopt.workflow.evaluating import Evaluated, Evaluator
from bmopt.workflow.files import size_on_disk
from bmopt.workflow.half_feeds import NarrowingRunner, half_inputs
from bmopt.workflow.lowering import Lowered, half_model, opening_options
from bmopt.workflow.measuring import measure_latency
from bmopt.workflow.preparing import Job
from bmopt.workflow.quantizing import format_rules, placement_report
from bmopt.workflow.stand_in import is_foreign, open_source, open_stand_in

_POOR_SQNR_DB = 10.0


def measured(
    job: Job, lowered: Lowered, built: EngineBuild | None, pool: tuple[Feeds, ...], out: Path
) -> dict[str, Any]:
    """Return the report of the artifact ``out``; what is worth a warning is told."""
    # What TensorRT's builder warns of is for the log of 'bmopt build'.
    warnings: list[str] = [] if built is None or job.on_gpu else list(built.warnings)
    report: dict[str, Any] = {
        "bmopt_report": 1,
        "target": str(job.target),
        "source": {"file": str(job.path), "size_bytes": size_on_disk(job.path)},
        "artifact": {"path": str(out), "size_bytes": size_on_disk(out / MODEL)},
        "inputs": input_rows(lowered.model),
        "nodes": {"before": _nodes(job.model), "after": _nodes(lowered.model)},
        "versions": versions(),
        "engine": None if built is None else facts(built),
        "engine_note": "" if built is not None else _engine_note(job),
        "imported": None if lowered.notes is None else dict(lowered.notes),
        "fallbacks": fallbacks(job, out / MODEL, opening_options(job, lowered.model)),
    }
    if lowered.cast is not None:
        kept = dict(lowered.cast.float_nodes)
        report["cast"] = {"dtype": lowered.cast.dtype, "float_nodes": kept}
    report["accuracy"], report["budget"] = _accuracy(job, lowered, out, built, warnings)
    report.update(_latency(job, lowered, built, pool, out, warnings))
    if lowered.plan is not None:
        report["placement"] = _placement(job, lowered, built, out, warnings)
        report["refinement"] = {
            "steps": list(lowered.steps),
            "layers": [dataclasses.asdict(layer) for layer in lowered.layers],
            "seconds": lowered.seconds,
        }
    report["missed"] = missed(job, report)
    warnings += report["missed"]
    for warning in warnings:
        job.progress.warn(warning)
    return {**report, "warnings": warnings}


def input_rows(model: ir.Model) -> list[dict[str, Any]]:
    """Return name, element type and shape of every input."""
    return [
        {
            "name": spec.name,
            "dtype": spec.dtype,
            "shape": None if spec.shape is None else list(spec.shape),
        }
        for spec in input_specs(model)
    ]


def open_compiled(
    job: Job, folder: Path, built: EngineBuild | None, *, threads: int = 0
) -> Runner:
    """Open what was compiled: on its engine, or its graph on the reference where it cannot run.

    It takes the job's samples, in float32 too where its inputs became half precision.
    """
    runner = _opened(job, folder, built, threads)
    if not job.recipe.cast_io:
        return runner
    return NarrowingRunner(runner, feed_types(job, load_model(folder / MODEL)))


def feed_types(job: Job, model: ir.Model) -> dict[str, np.dtype[Any]]:
    """Return the element types that half-precision inputs of ``model`` are fed in here.

    The stand-in emulates bfloat16 and takes float32 for it.
    """
    types = half_inputs(model)
    if runs_here(job):
        return types
    return {name: dtype for name, dtype in types.items() if dtype == np.float16}


def _opened(job: Job, folder: Path, built: EngineBuild | None, threads: int) -> Runner:
    graph = folder / MODEL
    if not runs_here(job):
        return open_stand_in(job.reference, graph, job.target, threads=threads)
    path = graph
    if built is not None and job.backend.builder is not None:
        path = folder / job.backend.builder.engine_file
    options = read_options(folder) or opening_options(job)
    return job.backend.open(path, job.target, threads=threads, options=options)


def runs_here(job: Job) -> bool:
    """Whether this host can run what it compiles; an engine without weights cannot be run."""
    return job.able.run and not job.recipe.strip


def _engine_note(job: Job) -> str:
    if job.backend.builder is None:
        return ""
    return f"engine to be built on the device with 'bmopt build': {job.able.reason}"


def _nodes(model: ir.Model) -> int:
    return sum(1 for _ in nodes_in(model.graph))


def _accuracy(
    job: Job, lowered: Lowered, out: Path, built: EngineBuild | None, warnings: list[str]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the section on accuracy, and the one on the budget."""
    budget = budget_in(job.recipe)
    if job.recipe.metric == "none" or job.val is None:
        return None, None
    job.progress.step("accuracy")
    if job.val_is_calib:
        warnings.append("accuracy was measured on the calibration samples; give --val for more")
    found = _compared(job, lowered, out, built, budget)
    report = found.report
    worst = min(report.sqnr_db, key=lambda name: report.sqnr_db[name], default=None)
    if worst is not None and report.sqnr_db[worst] < _POOR_SQNR_DB:
        warnings.append(
            f"output {worst!r} is far from the source model's ({report.sqnr_db[worst]:.1f} dB "
            "SQNR): check it on real data, or leave layers in float with --keep-float"
        )
    stand_in = not runs_here(job) and is_foreign(job.target)
    note = "of the graph on ONNX Runtime's CPU provider" if stand_in else ""
    section = {**report.to_dict(), "dataset": job.val.name, "note": note}
    return section, _budget(lowered, found)


def _compared(
    job: Job,
    lowered: Lowered,
    out: Path,
    built: EngineBuild | None,
    budget: Budget | None,
) -> Evaluated:
    """Return the artifact beside its source, as the budget was judged if on the same graph."""
    assert job.val is not None
    if lowered.climb is not None and built is None and lowered.cast is None:
        return lowered.climb.best.evaluated
    seed = job.recipe.seed
    with Evaluator(job.val, job.batch_size, job.recipe.metric, budget, seed=seed) as evaluator:
        with open_source(job.reference, job.path, job.target) as before:
            evaluator.reference(before)
        with open_compiled(job, out, built) as after:
            return evaluator.evaluate(after)


def _budget(lowered: Lowered, found: Evaluated) -> dict[str, Any] | None:
    """Return what became of the budget: the artifact's own verdict, and the way to it."""
    if found.verdict is None:
        return None
    way = {"rungs": [], "kept": "", "evaluations": 2, "in_the_way": []}
    if lowered.climb is not None:
        way = lowered.climb.to_dict()
    return {**way, **found.verdict.to_dict()}


def _latency(
    job: Job,
    lowered: Lowered,
    built: EngineBuild | None,
    pool: tuple[Feeds, ...],
    out: Path,
    warnings: list[str],
) -> dict[str, Any]:
    seconds, reference = job.recipe.duration_s, _rival(job)
    note = _why_not_run(job) or ("left out as asked" if seconds <= 0 else "")
    if not note and reference is None:
        note = f"{job.target} has nothing to be compared with"
    if note or not pool or reference is None:
        return {"latency": None, "latency_note": note or "there are no inputs to time with"}
    job.progress.step("latency")
    threads = job.recipe.threads
    with (
        _opened_rival(job, lowered, reference) as before,
        open_compiled(job, out, built, threads=threads) as after,
    ):
        found = measure_latency(before, after, pool, threads=threads, seconds=seconds)
    report = {**found.to_dict(), "reference": reference}
    if report["verdict"] == "slower":
        warnings.append(
            f"the artifact is SLOWER than {_named(reference)}: {report['ratio']:.2f} x its latency"
        )
    return {"latency": report, "latency_note": "", "measurement": found.measurement.to_dict()}


def _why_not_run(job: Job) -> str:
    if job.backend.builder is not None and not job.able.build:
        return "there is no engine yet"
    if not job.able.run:
        return job.able.reason
    return "the engine is stored without its weights" if job.recipe.strip else ""


def _named(reference: str) -> str:
    return "the source model" if reference == "source" else f"{reference}; use that instead"


def _rival(job: Job) -> str | None:
    """Return what the artifact has to be faster than, None where there is nothing.

    On CPUs that is the source model; on GPUs the target one precision higher.
    """
    if not job.on_gpu:
        return "source"
    if job.target.precision in QUANTIZED:
        return str(dataclasses.replace(job.target, precision="fp16"))
    if job.target.precision in HALVES:
        return str(dataclasses.replace(job.target, precision="fp32"))
    return None


@contextlib.contextmanager
def _opened_rival(job: Job, lowered: Lowered, reference: str) -> Iterator[Runner]:
    if reference == "source":
        with job.reference.open_graph(job.path, threads=job.recipe.threads) as runner:
            yield runner
        return
    target = Target.parse(reference)
    model = half_model(job, lowered) if target.precision == "fp16" else lowered.float_model
    opener = Opener(job.backend, target, opening_options(job, model), job.recipe.threads)
    with opener.opened(model) as runner:
        yield runner


def _placement(
    job: Job, lowered: Lowered, built: EngineBuild | None, out: Path, warnings: list[str]
) -> dict[str, Any]:
    assert lowered.plan is not None
    options = opening_options(job, lowered.model)
    if not job.on_gpu:
        found = None
        kernels = () if built is None else built.kernels
        executed = tuple(job.backend.explain(out / MODEL, lowered.plan, kernels))
    else:
        job.progress.step("audit")
        found = audit(job, out, lowered.plan, built, options)
        executed = () if found is None else found.executed
    lost = [entry for entry in executed if not entry.integer]
    if lost and (runs_here(job) or found is not None or built is not None):
        first = f"{lost[0].node!r} ({lost[0].kernel})" if lost[0].kernel else repr(lost[0].node)
        warnings.append(
            f"{len(lost)} nodes planned for {job.target.precision} run in float, first {first}"
        )
    rows = placement_report(
        lowered.float_model, lowered.plan, {entry.node: entry.kernel for entry in executed}
    )
    return {
        "scheme": job.backend.scheme(job.target).why,
        "method": lowered.plan.method,
        "rules": format_rules(lowered.placed.rules),
        "keep_float": list(lowered.placed.keep_float),
        "note": lowered.placed.note,
        "latency_ratios": dict(lowered.placed.ratios),
        "integer": len(lowered.plan.integer),
        "float": len(lowered.plan.float_nodes),
        "audit": None if found is None else _audit_facts(lowered, found, options),
        "nodes": rows,
    }


def _audit_facts(lowered: Lowered, found: Audit, options: BuildOptions) -> dict[str, Any]:
    assert lowered.plan is not None
    return {
        **facts(found.build),
        "profiles": {name: str(profile) for name, profile in options.profiles.items()},
        "integer_work": integer_work(lowered.float_model, lowered.plan, found.executed),
        "in_float": {e.node: e.kernel for e in found.executed if not e.integer},
    }
