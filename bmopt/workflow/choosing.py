"""How the ranges of an 8-bit model and its placement are chosen: by trying."""

from __future__ import annotations

import dataclasses
import json

from bmopt.core.digest import of_bytes
from bmopt.core.host import host_facts
from bmopt.core.ranges import METHODS, Method
from bmopt.core.scheme import FloatRules
from bmopt.workflow.preparing import Job
from bmopt.workflow.quantizing import Quantizer, format_rules, parse_rules
from bmopt.workflow.samples import Head

_METHOD_SAMPLES = 64


def choose_method(job: Job, quantizer: Quantizer) -> Method:
    """Return the recipe's range method, or the one whose outputs are nearest to float32."""
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


def choose_rules(
    job: Job, quantizer: Quantizer, method: Method
) -> tuple[FloatRules, dict[str, float]]:
    """Return the recipe's placement, or the fastest one here and every candidate's ratio."""
    wanted = job.recipe.placement
    if wanted not in ("auto", "rules"):
        return parse_rules(wanted), {}
    if wanted == "rules" or not job.able.run or job.recipe.duration_s <= 0:
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
        target=str(job.target),
        float_type=job.recipe.float_type,
        threads=job.recipe.threads,
        cpu=host_facts().model,
        gpus=[str(gpu) for gpu in host_facts().gpus],
    )
    document = json.loads(text)
    return FloatRules(**document["rules"]), document["ratios"]


def _key(quantizer: Quantizer) -> dict[str, object]:
    """Return what every decision of the quantiser depends on."""
    return {
        "weight_scales": {name: list(s) for name, s in quantizer.weight_scales.items()},
        "table": of_bytes(quantizer.table.to_json().encode()),
        "scheme": quantizer.scheme.name,
        "keep_float": list(quantizer.keep_float),
    }
