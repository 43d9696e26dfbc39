"""A model in the target's precision: ranges, their method, placement, Q/DQ nodes, casts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from bmopt.calibration.casting import make_cast_plan
from bmopt.core.cast_plan import CastPlan
from bmopt.core.corrections import LayerFacts
from bmopt.core.engine import BuildOptions
from bmopt.core.imported import Imported, to_range_table
from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import METHODS, Method, RangeTable
from bmopt.core.scheme import FloatRules
from bmopt.core.target import HALVES, QUANTIZED
from bmopt.graph.model_digest import model_digest
from bmopt.graph.opset import raise_opset
from bmopt.graph.sparsity import has_two_four
from bmopt.optimizer.imported.importing import import_quantized
from bmopt.optimizer.passes.cast_float import CastFloat
from bmopt.optimizer.pipeline import Pipeline
from bmopt.workflow.accuracy_options import budget_in
from bmopt.workflow.attempts import Attempt, attempt
from bmopt.workflow.budgeting import Climb, climb
from bmopt.workflow.choosing import Rewrite, choose, rewritten
from bmopt.workflow.engines import Opener
from bmopt.workflow.given_plan import given_approach
from bmopt.workflow.placing import Placed, choose_placement
from bmopt.workflow.preparing import Job
from bmopt.workflow.quantizing import Quantizer, format_rules, lacks_integers
from bmopt.workflow.ranging import calibrated
from bmopt.workflow.steps import Steps, steps_of

GIVEN_BACK = "faster in float, or needed there for accuracy"


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A model in the target's precision and what it was made from.

    Attributes:
        float_model: The float model that ranges and plan belong to.
        model: The model for the target.
        plan: The quantisation plan that was applied; None where nothing is in 8 bits.
        cast: The cast plan that was applied; None where all floats are float32.
        table: The ranges that the plans were made from; None where there were no samples.
        placed: The placement that was chosen, and the latency of every one that was timed.
        steps: The steps that refined the weights.
        layers: What they did to each product.
        seconds: How long that took.
        climb: How the budget was met, or missed; None where there is none.
        notes: What was changed in a model that came quantised, by node; None for one that did
            not.
    """

    float_model: ir.Model
    model: ir.Model
    plan: QuantPlan | None = None
    cast: CastPlan | None = None
    table: RangeTable | None = None
    placed: Placed = dataclasses.field(default_factory=Placed)
    steps: tuple[str, ...] = ()
    layers: tuple[LayerFacts, ...] = ()
    seconds: float = 0.0
    climb: Climb | None = None
    notes: Mapping[str, str] | None = None


def lower(job: Job, model: ir.Model) -> Lowered:
    """Return the optimised ``model`` in the precision of the job's target.

    Raises:
        QuantizationError: Nothing in it can run in 8 bits, or what it comes with cannot be kept.
        CalibrationError: A tensor became NaN.
    """
    if job.target.precision in QUANTIZED:
        return _quantized(job, model)
    half = HALVES.get(job.target.precision)
    if half is None:
        return Lowered(model, model)
    table = None
    if job.calib is not None:
        table = _ranges(job, model)
    else:
        job.progress.warn(
            "without calibration samples only constants are checked for overflow; give --calib"
        )
    return _cast(job, Lowered(model, model, table=table), half)


def half_model(job: Job, lowered: Lowered) -> ir.Model:
    """Return the float model of ``lowered`` in float16, for comparison."""
    floats = Lowered(lowered.float_model, lowered.float_model, table=lowered.table)
    return _cast(job, floats, "float16").model


def _quantized(job: Job, model: ir.Model) -> Lowered:
    scheme = job.backend.scheme(job.target)
    imported = import_quantized(model, scheme.weight.dtype) if job.is_quantized else None
    if imported is not None:
        model = imported.model
    model = raise_opset(model, scheme.min_opset)
    if scheme.prepare:
        model = Pipeline.parse(scheme.prepare).run(model).model
    table = _ranges(job, model) if imported is None else _source_ranges(job, model, imported)
    quantizer = Quantizer(
        model,
        table,
        scheme,
        job.reference,
        _opener(job, model),
        (*job.recipe.keep_float, *(() if imported is None else imported.keep_float)),
        {} if imported is None else imported.weight_scales,
    )
    lowered = _placed(job, quantizer, None if imported is None else imported.notes)
    return lowered if imported is None else _with_source_reasons(lowered, imported)


def _with_source_reasons(lowered: Lowered, imported: Imported) -> Lowered:
    """Say of products that the source had in float that this is why they are."""
    if lowered.plan is None:
        return lowered
    reasons = {
        name: "float in the source" if name in imported.keep_float else reason
        for name, reason in lowered.plan.float_nodes.items()
    }
    return dataclasses.replace(
        lowered, plan=dataclasses.replace(lowered.plan, float_nodes=reasons)
    )


def _source_ranges(job: Job, model: ir.Model, imported: Imported) -> RangeTable:
    """Return the source's own ranges, or where they are too wide those of the samples."""
    if not imported.bounds_values(job.backend.scheme(job.target).weight.dtype):
        if job.calib is not None:
            return _ranges(job, model)
        job.progress.warn(
            "ranges of float8 are wider than the values, by how much it does not say; give --calib"
        )
    return to_range_table(imported, model_digest(model))


def _placed(job: Job, quantizer: Quantizer, notes: Mapping[str, str] | None) -> Lowered:
    model, table = quantizer.model, quantizer.table
    everything = quantizer.plan("minmax", FloatRules())
    half = HALVES.get(job.recipe.float_type)
    if reason := lacks_integers(model, everything):
        job.progress.warn(
            f"no node runs in {job.target.precision.upper()} ({reason}): the artifact is a float "
            "model"
        )
        lowered = Lowered(model, model, everything, table=table, notes=notes)
        return _cast(job, lowered, half) if half else lowered
    placed = choose_placement(job, quantizer, _table_method(job, table))
    made, found = _made(job, quantizer, placed, is_imported=notes is not None)
    plan = made.plan
    if not plan.weights:
        job.progress.warn(f"nothing runs in {job.target.precision.upper()}: {_why_not(placed)}")
    for name, reason in plan.float_nodes.items():
        if "never left zero" in reason:
            job.progress.warn(f"node {name!r} stays in float: {reason}; check the preprocessing")
    lowered = Lowered(
        float_model=made.quantizer.model,
        model=made.model,
        plan=_with_reasons(plan, made.approach.keep_float, job.recipe.keep_float),
        table=made.quantizer.table,
        placed=dataclasses.replace(placed, keep_float=made.approach.keep_float),
        steps=made.steps.names,
        layers=() if made.corrections is None else made.corrections.layers,
        seconds=made.seconds,
        climb=found,
        notes=notes,
    )
    return _cast(job, lowered, half) if half else lowered


def _table_method(job: Job, table: RangeTable) -> Method:
    """Return a method to place with; which one it is changes no times."""
    return next((m for m in METHODS if m == job.recipe.method), "minmax")


def _made(
    job: Job, quantizer: Quantizer, placed: Placed, *, is_imported: bool
) -> tuple[Attempt, Climb | None]:
    """Return the quantised model, and how a budget was met."""
    steps = Steps() if is_imported or not quantizer.table.samples else steps_of(job.recipe)
    budget = budget_in(job.recipe)
    calibrate = functools.partial(_calibrated, job)
    if job.recipe.plan:
        approach = given_approach(job, quantizer, Path(job.recipe.plan), calibrate)
        steps = Steps.of(approach.plan().steps)
    else:
        approach = choose(job, quantizer, placed, steps, calibrate)
    if budget is not None and approach.plan().weights:
        found = climb(job, budget, approach, placed, steps)
        return found.best.attempt, found
    job.progress.step("refine")
    return attempt(job, approach, steps), None


def _calibrated(job: Job, quantizer: Quantizer, plan: Rewrite) -> Quantizer:
    """Return the quantiser of the rewritten model, with ranges of its own."""
    found = rewritten(quantizer, plan)
    return dataclasses.replace(found, table=_ranges(job, found.model))


def _with_reasons(plan: QuantPlan, measured: Sequence[str], asked: Sequence[str]) -> QuantPlan:
    """Say of what was kept in float for its latency or its noise that this is why."""
    reasons = {
        name: GIVEN_BACK if name in measured and name not in asked else reason
        for name, reason in plan.float_nodes.items()
    }
    return dataclasses.replace(plan, float_nodes=reasons)


def _why_not(placed: Placed) -> str:
    if not placed.pays:
        return f"{placed.note}; the artifact is a float model"
    return (
        f"placement {format_rules(placed.rules)} leaves every product in float; compile with "
        "--placement all for integers at any price"
    )


def _cast(job: Job, lowered: Lowered, half: str) -> Lowered:
    plan = make_cast_plan(
        lowered.model,
        "float16" if half == "float16" else "bfloat16",
        table=lowered.table,
        keep_float=job.recipe.keep_float,
        keep_io=not job.recipe.cast_io,
        model_digest=model_digest(lowered.model),
    )
    model = CastFloat(plan)(lowered.model.clone()).model
    return dataclasses.replace(lowered, model=model, cast=plan)


def _opener(job: Job, model: ir.Model) -> Opener:
    half = HALVES.get(job.recipe.float_type)

    def finish(model: ir.Model) -> ir.Model:
        return _cast(job, Lowered(model, model), half).model if half else model

    options = opening_options(job, model)
    return Opener(job.backend, job.target, options, job.recipe.threads, finish)


def engine_options(job: Job, model: ir.Model) -> BuildOptions | None:
    """Return how the engine of ``model`` is built, None where the target runs graphs."""
    return None if job.backend.builder is None else opening_options(job, model)


def opening_options(job: Job, model: ir.Model | None = None) -> BuildOptions:
    """Return how the engine of ``model`` is built, by us or by ONNX Runtime when it opens it."""
    sparse = model is not None and has_two_four(model)
    return job.recipe.build_options(job.profiles, has_sparse_weights=sparse)


def _ranges(job: Job, model: ir.Model) -> RangeTable:
    assert job.calib is not None
    calib = job.calib
    job.progress.step("calibrate")
    text = job.cache.text(
        lambda: calibrated(
            model,
            calib,
            job.reference,
            batch_size=job.batch_size,
            threads=job.recipe.threads,
            progress=job.progress,
        ).to_json(),
        "calibrate",
        model=model_digest(model),
        samples=calib.fingerprint,
        batch=job.batch_size,
    )
    return RangeTable.from_json(text)
