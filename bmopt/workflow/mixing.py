"""Which products to leave in float so that the outputs keep to a budget, at the least latency."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import onnx_ir as ir

from bmopt.calibration.placement_front import knapsack
from bmopt.calibration.plan import corrected
from bmopt.core.digest import of_bytes
from bmopt.core.host import host_facts
from bmopt.core.latency_table import GroupLatency, LatencyTable
from bmopt.graph.products import multiply_adds, product_of
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from bmopt.workflow.attempts import Attempt
from bmopt.workflow.output_noise import OutputNoise
from bmopt.workflow.preparing import Job
from bmopt.workflow.samples import Head

_SAMPLES = 64
_INTEGER_SHARE = 0.5
"""What integers are taken to need of float's time where no clock tells."""


def sensitivities(job: Job, made: Attempt) -> dict[str, float]:
    """Return product -> noise power over signal power at the outputs with it alone in integers.

    They are measured once on calibration samples, and add up as far as the layers' errors are
    independent.
    """
    assert job.calib is not None
    job.progress.step("sensitivity")
    text = job.cache.text(
        lambda: json.dumps(_measured(job, made)),
        "sensitivity",
        plan=of_bytes(made.plan.to_json().encode()),
        samples=job.calib.fingerprint,
        batch=job.batch_size,
    )
    found: dict[str, float] = json.loads(text)
    return found


def mixed(
    job: Job, made: Attempt, table: LatencyTable | None, noise: Mapping[str, float], budget: float
) -> tuple[str, ...]:
    """Return the products to keep in float so that the rest's noise adds up to ``budget`` at most.

    It is the fastest such choice by the latency table; without one, products count by their
    multiply-adds.
    """
    table = table or _by_work(made, job)
    best = knapsack(table, noise, budget)
    kept = frozenset(noise) if best is None else best.keep_float
    return tuple(name for name in made.plan.weights if name in kept)


def _measured(job: Job, made: Attempt) -> dict[str, float]:
    quantizer, plan = made.quantizer, made.plan
    assert job.calib is not None
    keep_qdq = quantizer.scheme.side == "inputs"
    outputs = OutputNoise(
        quantizer.model,
        Head(job.calib, _SAMPLES),
        job.batch_size,
        lambda path: job.reference.open_graph(path, keep_qdq=keep_qdq),
    )
    found = {}
    for done, name in enumerate(plan.weights, 1):
        decibels = outputs.sqnr_db(_alone(made, name))
        found[name] = 10 ** (-decibels / 10)
        job.progress.advance(done, len(plan.weights))
    return found


def _alone(made: Attempt, name: str) -> ir.Model:
    """Return the model with one product in integers, refined as it is among the others."""
    quantizer = made.quantizer
    alone = made.approach.plan([other for other in made.plan.weights if other != name])
    if made.corrections is None or name not in alone.weights:
        return quantizer.apply(alone)
    own = tuple(r for r in made.corrections.replacements if r.node == name)
    corrections = dataclasses.replace(made.corrections, replacements=own)
    model = CorrectWeights(corrections)(quantizer.model.clone()).model
    return quantizer.apply(corrected(alone, corrections, quantizer.scheme), model)


def _by_work(made: Attempt, job: Job) -> LatencyTable:
    groups = {}
    for node in made.quantizer.model.graph:
        name = node.name or ""
        product = product_of(node) if name in made.plan.weights else None
        if product is not None:
            work = float(multiply_adds(product) or product.weight().size)
            groups[name] = GroupLatency(work, _INTEGER_SHARE * work, node.op_type)
    model = made.quantizer.table.model
    return LatencyTable(model, str(job.target), host_facts().model, 0, groups, {})
