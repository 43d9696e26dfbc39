"""The INT8 half of a compilation: ranges, their method, placement, and the Q/DQ model."""

from __future__ import annotations

import dataclasses
import json

import onnx_ir as ir

from bmopt.core.digest import of_bytes
from bmopt.core.host import host_facts
from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import METHODS, Method, RangeTable
from bmopt.core.scheme import FloatRules
from bmopt.graph.model_digest import model_digest
from bmopt.graph.opset import raise_opset
from bmopt.optimizer.pipeline import Pipeline
from bmopt.workflow.preparing import Job
from bmopt.workflow.quantizing import Quantizer, format_rules, lacks_integers, parse_rules
from bmopt.workflow.ranging import calibrated
from bmopt.workflow.samples import Head

_METHOD_SAMPLES = 64


@dataclasses.dataclass(frozen=True)
class Quantized:
    """A Q/DQ model and what it was made from.

    Attributes:
        float_model: The model that ranges and plan belong to.
        model: The Q/DQ model.
        plan: The plan that was applied.
        table: The ranges that the plan was made from.
        rules: The placement that was chosen.
        ratios: Latency of every placement timed, relative to all in integers; empty where none
            was timed.
    """

    float_model: ir.Model
    model: ir.Model
    plan: QuantPlan
    table: RangeTable
    rules: FloatRules
    ratios: dict[str, float]


def quantized(job: Job, model: ir.Model) -> Quantized:
    """Quantise the optimised ``model`` for the job's target.

    Raises:
        QuantizationError: Nothing in it can run in integers.
        CalibrationError: A tensor became NaN.
    """
    scheme = job.backend.scheme(job.target)
    model = raise_opset(model, scheme.min_opset)
    if scheme.prepare:
        model = Pipeline.parse(scheme.prepare).run(model).model
    table = _ranges(job, model)
    quantizer = Quantizer(
        model, table, scheme, job.backend, job.recipe.keep_float, job.recipe.threads
    )
    everything = quantizer.plan("minmax", FloatRules())
    if reason := lacks_integers(model, everything):
        job.progress.warn(f"no node runs in INT8 ({reason}): the artifact is a float model")
        return Quantized(model, model, everything, table, FloatRules(), {})
    method = _method(job, quantizer)
    rules, ratios = _rules(job, quantizer, method)
    plan = quantizer.plan(method, rules)
    if not plan.weights:
        job.progress.warn(
            f"nothing runs in INT8: placement {format_rules(rules)} leaves every product in "
            "float; compile with placement 'all' for integers at any price"
        )
    for name, reason in plan.float_nodes.items():
        if "never left zero" in reason:
            job.progress.warn(f"node {name!r} stays in float: {reason}; check the preprocessing")
    return Quantized(model, quantizer.apply(plan), plan, table, rules, ratios)


def _ranges(job: Job, model: ir.Model) -> RangeTable:
    assert job.calib is not None
    calib = job.calib
    job.progress.step("calibrate")
    text = job.cache.text(
        lambda: calibrated(
            model,
            calib,
            job.backend,
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


def _method(job: Job, quantizer: Quantizer) -> Method:
    wanted = job.recipe.method
    for method in METHODS:
        if method == wanted:
            return method
    assert job.calib is not None
    calib = Head(job.calib, _METHOD_SAMPLES)
    rules = _trial_rules(job, quantizer)
    job.progress.step("choose ranges")
    chosen = job.cache.text(
        lambda: quantizer.choose_method(rules, calib, job.batch_size),
        "method",
        **_key(quantizer),
        rules=format_rules(rules),
        samples=job.calib.fingerprint,
    )
    return next(method for method in METHODS if method == chosen)


def _trial_rules(job: Job, quantizer: Quantizer) -> FloatRules:
    """Return a placement to try methods with: one that has something in integers."""
    if job.recipe.placement not in ("auto", "rules"):
        return parse_rules(job.recipe.placement)
    rules = quantizer.scheme.rules
    return rules if quantizer.plan("minmax", rules).weights else FloatRules()


def _rules(job: Job, quantizer: Quantizer, method: Method) -> tuple[FloatRules, dict[str, float]]:
    wanted = job.recipe.placement
    if wanted not in ("auto", "rules"):
        return parse_rules(wanted), {}
    runs_here = job.backend.probe(job.target).run
    if wanted == "rules" or not runs_here or job.recipe.duration_s <= 0:
        return quantizer.scheme.rules, {}
    job.progress.step("choose placement")

    def choose() -> str:
        rules, ratios = quantizer.choose_rules(method, job.pool(), job.recipe.duration_s)
        return json.dumps({"rules": dataclasses.asdict(rules), "ratios": ratios})

    text = job.cache.text(
        choose,
        "placement",
        **_key(quantizer),
        method=method,
        threads=quantizer.threads,
        cpu=host_facts().model,
    )
    document = json.loads(text)
    return FloatRules(**document["rules"]), document["ratios"]


def _key(quantizer: Quantizer) -> dict[str, object]:
    """Return what every decision of the quantiser depends on."""
    return {
        "table": of_bytes(quantizer.table.to_json().encode()),
        "scheme": quantizer.scheme.name,
        "keep_float": list(quantizer.keep_float),
    }
