"""``bmopt prune --sparsity``, and what a target gains from zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from bmopt.calibration.sparsity.sparsify import SparsifyOptions, sparsify_model
from bmopt.core.corrections import LayerFacts
from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.core.target import Target
from bmopt.errors import PruningError
from bmopt.graph.quantized import is_quantized
from bmopt.graph.sparsity import WeightSparsity, sparsity_of
from bmopt.graph.sparsity_rules import LEAST_INPUTS, SparsityRules
from bmopt.optimizer.pass_base import Outcome
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.optimizer.passes.sparsify import Sparsify
from bmopt.workflow.preparing import Job

_FIRST_SPARSE_SM = 80


def sparsified(
    job: Job,
    model: ir.Model,
    pattern: str,
    *,
    nodes: Sequence[str] = (),
    exclude: Sequence[str] = (),
    least_inputs: int = LEAST_INPUTS,
) -> tuple[ir.Model, dict[str, Any]]:
    """Return a model with zeros where a pattern wants them, and what was done.

    With calibration samples the weights that stay are fitted so that they make up for those that
    go; without, the smallest go and that is all.

    Args:
        job: Its samples, its engine.
        model: An optimised float model; is not changed.
        pattern: As ``SparsityPattern.parse`` reads it.
        nodes: Names of the products that are made sparse, with ``*`` and ``?``; none for all.
        exclude: Names of those that are not.
        least_inputs: Products that sum over fewer channels stay dense.

    Returns:
        The model, and ``{"pattern", "compensated", "gain", "weights", "zeros", "layers",
        "dropped", "refused"}``: weights and zeros of all products, per product its zeros and its
        signal to error in dB, which products only lost their small weights, and why others stay
        dense.

    Raises:
        PruningError: The pattern is none, no product can have it, or the model is quantised.
        BmoptError: As samples and engines raise it.
    """
    wanted = SparsityPattern.parse(pattern)
    rules = SparsityRules(wanted, tuple(nodes), tuple(exclude), least_inputs)
    if is_quantized(model):
        raise PruningError(
            "the model is quantised already: make the float model sparse, and quantise that"
        )
    found = model.clone()
    InferShapes()(found)
    layers: tuple[LayerFacts, ...] = ()
    dropped: tuple[str, ...] = ()
    if job.calib is None:
        job.progress.warn("no calibration samples: small weights go, and nothing makes up for it")
        rewrite = Sparsify(wanted.head, wanted.ratio, rules.nodes, rules.exclude, least_inputs)
        outcome = rewrite(found)
        assert isinstance(outcome, Outcome)
        found = outcome.model
        refused = {one.node: one.reason for one in outcome.refusals}
    else:
        job.progress.step("make sparse")
        made = sparsify_model(
            found,
            job.calib,
            job.reference.open_checked,
            rules,
            options=SparsifyOptions(batch_size=job.batch_size),
            progress=job.progress.advance,
        )
        found = CorrectWeights(made.corrections)(found).model
        layers, dropped, refused = made.corrections.layers, made.dropped, dict(made.refused)
    zeros = sparsity_of(found)
    _require_any(zeros, refused, rules)
    return found, {
        "pattern": str(wanted),
        "compensated": job.calib is not None,
        "gain": gain_of(job.target, wanted),
        "weights": sum(one.weights for one in zeros),
        "zeros": sum(one.zeros for one in zeros),
        "layers": [_layer(one) for one in layers],
        "dropped": list(dropped),
        "refused": refused,
    }


def _layer(facts: LayerFacts) -> dict[str, Any]:
    """Return a product's facts as JSON has them: None for an error that is not there."""
    found = (facts.before_db, facts.after_db)
    before, after = (value if math.isfinite(value) else None for value in found)
    return {"node": facts.node, "before_db": before, "after_db": after}


def _require_any(
    zeros: tuple[WeightSparsity, ...], refused: dict[str, str], rules: SparsityRules
) -> None:
    if sum(rules.names(one.node) for one in zeros) > len(refused):
        return
    why = "; ".join(sorted(set(refused.values()))[:3]) or "none is named so"
    raise PruningError(f"no product of the model can be {rules.pattern}: {why}")


def gain_of(target: Target, pattern: SparsityPattern | str) -> str:
    """Return in a sentence what a target's kernels make of the zeros of a pattern."""
    if isinstance(pattern, str):
        pattern = SparsityPattern.parse(pattern)
    name = pattern.head
    if target.engine in ("trt", "rtx") or target.device == "tensorrt":
        return _gain_of_tensorrt(target, pattern)
    engine = "TVM" if target.engine == "tvm" else "ONNX Runtime"
    place = "GPU" if target.on_gpu or target.device == "cuda" else "CPU"
    return (
        f"{target} gains no time from {name}: the kernels of {engine} on a {place} multiply by "
        "zeros like by any number; cut channels for that (bmopt prune --latency)"
    )


def _gain_of_tensorrt(target: Target, pattern: SparsityPattern) -> str:
    if not _is_two_four(pattern):
        return (
            f"{target} gains no time from {pattern.head}: TensorRT's sparse kernels are for 2:4 "
            "along the input channels"
        )
    old = [sm for sm in target.devices if sm.startswith("sm") and int(sm[2:]) < _FIRST_SPARSE_SM]
    if old:
        return (
            f"{target} gains no time from {pattern.head} on {'+'.join(old)}: sparse tensor cores "
            f"start with sm{_FIRST_SPARSE_SM}"
        )
    return (
        f"{target} has kernels for 2:4 on sm{_FIRST_SPARSE_SM} and later and takes them for those "
        "layers where they are faster in the build (--sparse auto), mostly wide ones"
    )


def _is_two_four(pattern: SparsityPattern) -> bool:
    """Whether weights of a pattern are 2:4 as well."""
    if (pattern.kept, pattern.of) == (1, 2):
        return True
    return 0 < pattern.kept <= 2 and pattern.of % 4 == 0
