"""The pass ``equalize``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.core.equalization import ChannelScaling, EqualizationPlan
from bmopt.core.runner import Array
from bmopt.errors import QuantizationError
from bmopt.graph.channel_scales import divided, multiplied
from bmopt.graph.cross_layer import equalized_weights, lacks_weights, scaling_of
from bmopt.graph.model_digest import model_digest
from bmopt.graph.scaling_chains import scaling_chains
from bmopt.optimizer.arithmetic.linear_ops import set_constant
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.plan_files import plan_text

_APPLIED = "bmopt.equalized"


@dataclasses.dataclass(frozen=True)
class Equalize(Pass):
    """Scale channels of activations so that 8 bits hold them better, without a node more.

    A positive factor per channel is multiplied into the constants of the nodes before an
    activation and divided out of the weights of the nodes behind it. Relu, LeakyRelu, pools,
    reshapes and residual Adds between them let it pass. Constants that are shared with other
    nodes are copied.

    1. Without a plan: the weights on both sides of an activation get the same range in every
       channel (Nagel et al., 2019), which is meant for weights with one scale per tensor.
    2. With a plan: what it says. It may scale through a Clip as far as calibration reached, so
       the pass then counts as lossy. A model that the plan was applied to is not modified.

    Refused without a plan: activations that a Clip bounds from above, that a graph output or a
    node shows which no scale can pass, and those written by nodes without weights.

    Attributes:
        plan: A plan (from Python) or the path of its file; none equalises weights.
    """

    name: ClassVar[str] = "equalize"

    plan: str | EqualizationPlan | None = None

    def __post_init__(self) -> None:
        if self.plan is not None:  # Of this instance; the class stays exact.
            object.__setattr__(self, "effect", "lossy")

    def call(self, model: ir.Model) -> Outcome:
        """Scale constants of the main graph in place.

        Raises:
            PassError: The plan's file cannot be read.
            QuantizationError: The plan is none, is for another model, or does not fit.
        """
        plan = _read(self.plan) if isinstance(self.plan, str) else self.plan
        if plan is None:
            return _equalize_weights(model)
        if model.metadata_props.get(_APPLIED) == plan.digest:
            return Outcome(model, modified=False)
        plan.require_model(model_digest(model))
        _apply(model.graph, plan.scalings)
        if plan.scalings:
            model.metadata_props[_APPLIED] = plan.digest
        refusals = tuple(Refusal(tensor, reason) for tensor, reason in plan.refused.items())
        return Outcome(model, modified=bool(plan.scalings), refusals=refusals)


def _read(path: str) -> EqualizationPlan:
    return EqualizationPlan.from_json(plan_text(Equalize.name, path), source=path)


def _equalize_weights(model: ir.Model) -> Outcome:
    chains = scaling_chains(model.graph)
    refused = dict(chains.refused)
    usable = []
    for chain in chains.found:
        reason = "a Clip bounds it, and how far it reaches is not known without a plan"
        reason = reason if chain.clips else lacks_weights(chain)
        if reason:
            refused[chain.tensor.name or ""] = reason
        else:
            usable.append(chain)
    factors = equalized_weights(usable, {})
    changed = [(c, f) for c, f in zip(usable, factors, strict=True) if np.any(f != 1.0)]
    _apply(model.graph, [scaling_of(chain, found) for chain, found in changed])
    refusals = tuple(Refusal(tensor, reason) for tensor, reason in refused.items())
    return Outcome(model, modified=bool(changed), refusals=refusals)


def _apply(graph: ir.Graph, scalings: Sequence[ChannelScaling]) -> None:
    chains = {chain.tensor.name: chain for chain in scaling_chains(graph).found}
    for scaling in scalings:
        chain = chains.get(scaling.tensor)
        if chain is None or scaling_of(chain, np.ones(1)) != _with_one_factor(scaling):
            raise QuantizationError(
                f"the equalisation plan scales {scaling.tensor!r} by nodes that cannot do that in "
                "this model; make the plan again"
            )
        factors = np.array(scaling.factors)
        if len(factors) != chain.channels:
            raise QuantizationError(
                f"the equalisation plan has {len(factors)} factors for {scaling.tensor!r}, which "
                f"needs {chain.channels}; make the plan again"
            )
        for port in chain.writers:
            _replace(port.node, multiplied(port.node, port.axis, factors))
        for port in chain.readers:
            _replace(port.node, divided(port.node, port.axis, factors))


def _with_one_factor(scaling: ChannelScaling) -> ChannelScaling:
    return dataclasses.replace(scaling, factors=(1.0,))


def _replace(node: ir.Node, constants: Mapping[int, Array]) -> None:
    for index, array in constants.items():
        if not np.isfinite(array).all():
            raise QuantizationError(
                f"node {node.name!r}: a scaled constant is beyond the range of {array.dtype}; "
                "take the scaling out of the plan"
            )
        set_constant(node, index, array, "scaled")
