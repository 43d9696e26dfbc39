"""The pass ``absorb-bias``."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.core.absorption import AbsorptionPlan, Shift
from bmopt.errors import QuantizationError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.shift_chains import ShiftChain, shift_chains
from bmopt.optimizer.arithmetic.linear_ops import (
    Linear,
    apply_edit,
    drop_unused,
    linear_of,
    plan_inputs,
    plan_outputs,
)
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.plan_files import plan_text
from bmopt.optimizer.rewrite import add_constant, opset, root_graph
from bmopt.optimizer.sweeps import RefusedError

_APPLIED = "bmopt.absorbed"
_SCALE = np.ones(())
_CLIP_OPSET = 11
"""The first in which a Clip's bounds are inputs."""


@dataclasses.dataclass(frozen=True)
class AbsorbBias(Pass):
    """Store activations less a constant, so that 8 bits about zero hold them better.

    A Relu's output is never negative, and an encoding without a zero point keeps half of its
    steps for negative numbers. Less the middle of its range it uses all of them. The constant is
    taken off the bias of the product before the Relu or Clip and off the bounds, where a Relu
    becomes a Clip, and the products behind give it back through their biases. No node is added;
    constants that are shared with other nodes are copied.

    Refused, with the reason in the plan: activations that a Conv pads with zeros, that a graph
    output shows or that a node reads which has no bias. A model that the plan was applied to is
    not modified.

    In float nothing changes beyond rounding. Once weights are in 8 bits, what rounding did to
    them is multiplied with the constant as well, so the biases of the quantised model have to be
    put right; without that step the plan may do harm.

    Attributes:
        plan: A plan (from Python) or the path of its file.
    """

    name: ClassVar[str] = "absorb-bias"

    plan: str | AbsorptionPlan

    def call(self, model: ir.Model) -> Outcome:
        """Change biases and bounds of the main graph in place.

        Raises:
            PassError: The plan's file cannot be read.
            QuantizationError: The plan is none, is for another model, or does not fit.
        """
        plan = _read(self.plan) if isinstance(self.plan, str) else self.plan
        if model.metadata_props.get(_APPLIED) == plan.digest:
            return Outcome(model, modified=False)
        plan.require_model(model_digest(model))
        for chain, shift in _matched(model, plan):
            _apply(chain, shift)
        if plan.shifts:
            model.metadata_props[_APPLIED] = plan.digest
        refusals = tuple(Refusal(tensor, reason) for tensor, reason in plan.refused.items())
        return Outcome(model, modified=bool(plan.shifts), refusals=refusals)


def _read(path: str) -> AbsorptionPlan:
    return AbsorptionPlan.from_json(plan_text(AbsorbBias.name, path), source=path)


def _matched(model: ir.Model, plan: AbsorptionPlan) -> list[tuple[ShiftChain, Shift]]:
    """Return every shift with the nodes that it names; nothing has been changed yet."""
    chains = {chain.tensor.name: chain for chain in shift_chains(model.graph).found}
    matched: dict[str, tuple[ShiftChain, Shift]] = {}
    for shift in plan.shifts:
        chain = chains.get(shift.tensor)
        fits = opset(model) >= _CLIP_OPSET and shift.tensor not in matched
        if chain is None or not fits or _names(chain) != (shift.writer, shift.clip, shift.readers):
            raise QuantizationError(
                f"the absorption plan shifts {shift.tensor!r} by nodes that cannot do that in "
                "this model; make the plan again"
            )
        low, high = chain.bounds
        if not low <= shift.amount <= high:
            raise QuantizationError(
                f"the absorption plan shifts {shift.tensor!r} by {shift.amount:g}, which is not "
                f"between its bounds {low:g} and {high:g}"
            )
        matched[shift.tensor] = chain, shift
    return list(matched.values())


def _names(chain: ShiftChain) -> tuple[str | None, str | None, tuple[str | None, ...]]:
    return chain.writer.name, chain.clip.name, tuple(node.name for node in chain.readers)


def _apply(chain: ShiftChain, shift: Shift) -> None:
    amount = np.array(shift.amount)
    bounds = chain.bounds
    writer = _linear(chain.writer, shift)
    try:
        apply_edit(plan_outputs(writer, _SCALE, -amount))
        _clip_to(chain.clip, bounds[0] - shift.amount, bounds[1] - shift.amount, writer)
        for reader in chain.readers:
            apply_edit(plan_inputs(_linear(reader, shift), _SCALE, amount))
    except RefusedError as error:
        raise QuantizationError(
            f"the absorption plan's shift of {shift.tensor!r} {error}; take it out of the plan"
        ) from error


def _linear(node: ir.Node, shift: Shift) -> Linear:
    linear = linear_of(node)
    if linear is None:
        raise QuantizationError(
            f"the absorption plan shifts {shift.tensor!r}, but {node.name!r} does not compute in "
            "floats; make the plan again"
        )
    return linear


def _clip_to(clip: ir.Node, low: float, high: float, writer: Linear) -> None:
    """Make ``clip`` a Clip to [low, high]; an infinite bound is left out."""
    old = list(clip.inputs[1:])
    clip.op_type = "Clip"
    clip.resize_inputs(3 if high < math.inf else 2)
    for index, (bound, role) in enumerate(((low, "min"), (high, "max")), start=1):
        if math.isinf(bound):
            if index < len(clip.inputs):
                clip.replace_input_with(index, None)
            continue
        array = np.array(bound, writer.weight.dtype.numpy())
        constant = add_constant(root_graph(clip), f"{clip.name}.{role}", array)
        clip.replace_input_with(index, constant)
    for value in old:
        drop_unused(value)
