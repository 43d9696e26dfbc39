"""``bmopt prune``, and the pruning that is part of a compilation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.bench.report.prune_page import prune_page
from bmopt.core.files import atomic_file, require_writable_file, write_text
from bmopt.core.host import versions
from bmopt.core.prune_plan import PrunePlan
from bmopt.core.prune_trials import PruneTrials, front
from bmopt.errors import PruningError
from bmopt.graph.model_io import require_not_source, save_model
from bmopt.workflow.preparing import Job, optimized, prepare
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.pruning.searching import Found, Tell, within_budget, within_drop
from bmopt.workflow.pruning.wish import PruneWish
from bmopt.workflow.pruning.workshop import Trial, Workshop
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.samples import Samples
from bmopt.workflow.source import as_file
from bmopt.workflow.sparsifying import sparsified

PLAN = ".prune.json"
"""What the plan is called: the model's name with this in the place of its suffix."""


@dataclasses.dataclass(frozen=True)
class PruneResult:
    """What ``bmopt prune`` did.

    Attributes:
        out: The pruned float model.
        report: Everything that was tried, and what was chosen.
    """

    out: Path
    report: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """0, or 3 where a budget was missed."""
        return 3 if self.report["missed"] else 0


def prune_model(
    source: object,
    recipe: Recipe,
    wish: PruneWish,
    out: Path,
    *,
    progress: Progress | None = None,
    calib: Samples | None = None,
    val: Samples | None = None,
) -> PruneResult:
    """Cut channels out of ``source`` and write the float model that is left.

    Beside it lie the plan, to be edited or followed again, and the report.

    Args:
        source: As for ``compile_model``, without a torch module.
        recipe: Target, samples and how they are read.
        wish: How much is to go.
        out: The file of the model.
        progress: Who is told.
        calib: Calibration samples that a recipe's text cannot name.
        val: The same of validation samples.

    Raises:
        PruningError: No channel can go, or the plan does not fit.
        UsageError: ``out`` is the source.
        BmoptError: As models, samples, passes and engines raise it.
    """
    progress = progress or Quiet()
    wish.checked()
    require_writable_file(out)
    with as_file(source) as path:
        job = prepare(path, recipe, progress, calib=calib, val=val)
        require_not_source(job.model, out)
        _require_samples(job, wish)
        progress.step("optimise")
        model, _ = optimized(job)
        with Workshop(job, model, multiple=wish.multiple) as shop:
            found = found_for(shop, wish)
            report = report_of(shop, found)
        with atomic_file(out) as scratch:
            save_model(found.best.model, scratch)
        if report["plan"]:
            write_text(out.with_suffix(PLAN), report["plan"])
        own = {"bmopt_prune": 1, "source": str(path), "out": str(out)}
    return PruneResult(out, {**own, **report})


def write_report(result: PruneResult, path: Path) -> None:
    """Draw what was tried as one HTML page.

    Raises:
        OutputError: It cannot be written.
    """
    trials = PruneTrials.from_report(result.report)
    title = f"{Path(result.report['source']).name}, pruned for {trials.target}"
    write_text(path, prune_page(title, trials))


def pruned(job: Job, model: ir.Model) -> tuple[ir.Model, dict[str, Any] | None]:
    """Return an optimised float model without what the job's recipe has go, and the report on it.

    Raises:
        PruningError: No channel can go, or the plan does not fit.
        BmoptError: As samples and engines raise it.
    """
    if not job.recipe.prune:
        return model, None
    wish = PruneWish.parse(job.recipe.prune)
    _require_samples(job, wish)
    with Workshop(job, model, multiple=wish.multiple) as shop:
        found = found_for(shop, wish)
        return found.best.model, report_of(shop, found)


def found_for(shop: Workshop, wish: PruneWish) -> Found:
    """Return what a wish ends with; every trial is told."""

    def tell(trial: Trial) -> None:
        shop.job.progress.step(_line(trial))

    found = _cut(shop, wish, tell)
    if not wish.sparsity:
        return found
    model, facts = sparsified(shop.job, found.best.model, wish.sparsity)
    trial = shop.measured("sparse", wish.sparsity, model, found.best.plan)
    tell(trial)
    return dataclasses.replace(found, best=trial, trials=(*found.trials, trial), sparsity=facts)


def _cut(shop: Workshop, wish: PruneWish, tell: Tell) -> Found:
    """Return the model without channels, or as it was where none are to go."""
    if not wish.cuts:
        source = shop.tried("source", "", None)
        return Found(source, (source,))
    shop.require_cuttable()
    if wish.plan:
        plan = PrunePlan.from_json(_text(wish.plan), source=wish.plan)
        source = shop.tried("source", "", None)
        return Found(best := shop.tried("plan", "", plan), (source, best))
    if wish.budget is not None:
        return within_budget(shop, wish.budget, tell)
    assert wish.max_drop is not None
    return within_drop(shop, wish.max_drop, tell)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PruningError(f"{path}: cannot be read ({error})") from error


def _line(trial: Trial) -> str:
    point = trial.point
    parts = [f"{point.name}: MACs {point.macs:.2f}"]
    if point.latency is not None:
        parts.append(f"latency {point.latency:.2f}")
    if point.drop is not None:
        parts.append(f"drop {point.drop:.2f}")
    return ", ".join(parts)


def report_of(shop: Workshop, found: Found) -> dict[str, Any]:
    """Return what was tried and chosen as a JSON value."""
    points = [trial.point for trial in found.trials]
    return {
        "target": str(shop.job.target),
        "metric": shop.metric,
        "versions": versions(),
        "trials": [point.to_dict() for point in points],
        "pareto": front(points),
        "chosen": found.best.point.name,
        "missed": [found.missed] if found.missed else [],
        "plan": "" if found.best.plan is None else found.best.plan.to_json(),
        "sparsity": found.sparsity,
        "latency_table": shop.latency_table,
        "groups": _groups(shop, found.best.plan),
        "refused": {one.name: one.reason for one in shop.channels.groups if one.reason},
    }


def _groups(shop: Workshop, plan: PrunePlan | None) -> Mapping[str, list[int]]:
    """Return group -> how many channels it has and how many are left."""
    gone = {} if plan is None else plan.removed
    return {
        group.name: [group.size, group.size - len(set(gone.get(group.name, ())))]
        for group in shop.channels.groups
        if not group.reason
    }


def _require_samples(job: Job, wish: PruneWish) -> None:
    if job.calib is None and wish.cuts and not wish.plan:
        raise PruningError("channels are chosen on samples: give them with --calib")
    if wish.max_drop is not None and job.val_is_calib:
        job.progress.warn("the drop is measured on the calibration samples; give --val for others")
