"""``bmopt compile``: from a trained model to a measured artifact."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmopt.core.digest import of_file
from bmopt.core.engine import EngineBuild
from bmopt.core.files import atomic_folder, require_replaceable
from bmopt.core.host import versions
from bmopt.core.runner import Feeds
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import save_model
from bmopt.workflow import artifact
from bmopt.workflow.auditing import lint_rows, refusals_in, require_lint
from bmopt.workflow.engines import MODEL, build_into, write_plan_to_build
from bmopt.workflow.functions import function_rows
from bmopt.workflow.half_feeds import narrowed
from bmopt.workflow.kernel_differences import kernel_differences
from bmopt.workflow.lowering import Lowered, engine_options, lower
from bmopt.workflow.measuring_on_board import measured_on_board
from bmopt.workflow.preparing import Job, optimized, prepare
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.pruning.running import pruned
from bmopt.workflow.quantizing import format_rules
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.reporting import feed_types, input_rows, measured, open_compiled, runs_here
from bmopt.workflow.samples import Samples
from bmopt.workflow.source import as_file

_GOLDEN_FEEDS = 2
_PROFILE_S = 1.0


@dataclasses.dataclass(frozen=True)
class CompileResult:
    """Where the artifact is and what was measured on it."""

    artifact: Path
    report: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """0, or 3 where a budget was missed."""
        return 3 if self.report["missed"] else 0


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
        if job.target.engine == "tvm":
            # What it has no ops for is told before samples are run for nothing.
            require_lint(job, model, refusals_in(log))
        model, pruning = pruned(job, model)
        lowered = lower(job, model)
        findings = require_lint(job, lowered.model)
        pool = job.pool()
        built = _write(job, lowered, pool, out, pruning)
        report = measured(job, lowered, built, pool, out)
        if lowered.placed.table is not None:
            artifact.write_latency_table(out, lowered.placed.table.to_json())
        report.update(
            measured_on_board(
                out,
                "" if built is None else recipe.board,
                threads=recipe.threads,
                seconds=recipe.duration_s,
                progress=progress,
            )
        )
        report["functions"] = _functions(job, lowered, built, pool, out)
        if built is not None and runs_here(job):
            report["kernel_differences"] = kernel_differences(job, lowered, pool)
        report["lint"] = lint_rows(findings)
        report["passes"] = log
        report["pruning"] = pruning
        report["missed"] += [] if pruning is None else pruning["missed"]
        artifact.write_report(out, report)
    return CompileResult(out, report)


def _functions(
    job: Job, lowered: Lowered, built: EngineBuild | None, pool: tuple[Feeds, ...], out: Path
) -> list[dict[str, Any]] | None:
    """Return what the report says of a library's functions; None of another engine."""
    builder, recipe = job.backend.builder, job.recipe
    if builder is None:
        return None
    seconds = min(_PROFILE_S, recipe.duration_s)
    feeds = pool if runs_here(job) else ()
    library = out / builder.engine_file
    return function_rows(
        library,
        lowered.model,
        job.target,
        built,
        feeds,
        threads=recipe.threads,
        seconds=seconds,
    )


def _write(
    job: Job,
    lowered: Lowered,
    pool: tuple[Feeds, ...],
    out: Path,
    pruning: Mapping[str, Any] | None,
) -> EngineBuild | None:
    # Of this host or not: a repeated run is to give the same artifact elsewhere too.
    recipe = dataclasses.replace(job.recipe, target=str(job.target), board="")
    job.progress.step("write")
    with atomic_folder(out) as folder:
        save_model(lowered.model, folder / MODEL)
        if lowered.table is not None:
            (folder / artifact.RANGES).write_text(lowered.table.to_json(), encoding="utf-8")
        if lowered.plan is not None:
            recipe = _as_chosen(recipe, lowered)
            (folder / artifact.PLAN).write_text(lowered.plan.to_json(), encoding="utf-8")
        if pruning is not None and pruning["plan"]:
            (folder / artifact.PRUNE).write_text(pruning["plan"], encoding="utf-8")
        if lowered.cast is not None:
            (folder / artifact.CAST).write_text(lowered.cast.to_json(), encoding="utf-8")
        (folder / artifact.RECIPE).write_text(recipe.to_toml(), encoding="utf-8")
        built = _build(job, lowered, folder)
        with open_compiled(job, folder, built, threads=1) as runner:
            types = feed_types(job, lowered.model)
            golden = [narrowed(feeds, types) for feeds in pool[:_GOLDEN_FEEDS]]
            artifact.write_golden(folder, runner, golden)
        artifact.write_manifest(folder, _facts(job, lowered, built))
    return built


def _as_chosen(recipe: Recipe, lowered: Lowered) -> Recipe:
    """Return the recipe with what was chosen by trying or by the clock, so that it repeats."""
    placed = lowered.placed
    kept = dict.fromkeys((*recipe.keep_float, *placed.keep_float))
    return dataclasses.replace(
        recipe,
        placement=format_rules(placed.rules),
        keep_float=tuple(kept),
        latency_table="",
        steps=",".join(lowered.steps) or "none",
    )


def _build(job: Job, lowered: Lowered, folder: Path) -> EngineBuild | None:
    """Build the engine where this host can; otherwise note how the device is to build it."""
    options = engine_options(job, lowered.model)
    if options is None:
        return None
    if not job.able.build:
        write_plan_to_build(folder, options)
        return None
    job.progress.step("tune and build engine" if options.tune else "build engine")
    return build_into(folder, job.backend, job.target, options, job.progress.advance)


def _facts(job: Job, lowered: Lowered, built: EngineBuild | None) -> dict[str, Any]:
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
        "model_digest": model_digest(lowered.model),
        "pipeline": job.recipe.pipeline,
        "calibration": None
        if calib is None
        else {"name": calib.name, "fingerprint": calib.fingerprint, "samples": calib.size},
        "scheme": None if lowered.plan is None else job.backend.scheme(job.target).why,
        "engine": None if built is None else artifact.engine_identity(built),
        "golden": "artifact" if runs_here(job) else "graph on the reference engine",
        "inputs": input_rows(lowered.model),
        "outputs": [value.name for value in lowered.model.graph.outputs],
    }
