"""The pass ``fuse-activations``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.optimizer.arithmetic.activations import Activation, activation_at
from bmopt.optimizer.arithmetic.clips import fuse_limits
from bmopt.optimizer.arithmetic.patterns import replace_pattern, require_enclosed
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import new_node, opset
from bmopt.optimizer.sweeps import RefusedError, sweep

_SIXTH = {"alpha": float(np.float32(1 / 6)), "beta": 0.5}


@dataclasses.dataclass(frozen=True)
class FuseActivations(Pass):
    """Fuse activation functions that are written out in primitive ops.

    1. ``Relu``, ``Clip``, and ``Min`` or ``Max`` with a constant: two in a row become one Clip.
    2. GELU, by erf or by tanh and in any order of its products: Gelu (opset 20).
    3. ``Clip(a x + b, 0, c) / c`` with ``b / c = 0.5``: HardSigmoid.
    4. ``x * Clip(x + 3, 0, 6) / 6`` and ``x * HardSigmoid(x)``: HardSwish, before opset 14
       HardSigmoid and Mul.

    SiLU stays Sigmoid and Mul, which ONNX Runtime runs faster than Swish.

    Refused: an opset that lacks the op, values inside that are read elsewhere, bounds that
    cross, and other types than FLOAT for Gelu, HardSigmoid and HardSwish, whose kernels on CPUs
    take no other.
    """

    name: ClassVar[str] = "fuse-activations"

    def call(self, model: ir.Model) -> Outcome:
        """Fuse every activation that can be."""
        version = opset(model)
        return sweep(model, lambda node: _fuse(node, version))


def _fuse(node: ir.Node, version: int) -> bool:
    if node.op_type in ("Relu", "Clip", "Min", "Max") and fuse_limits(node, version):
        return True
    activation = activation_at(node)
    if activation is None:
        return False
    _require_possible(activation, version)
    origins = sorted(activation.nodes, key=lambda n: n.name or "")
    last, source = activation.last, activation.source
    if version < activation.min_opset:
        sigmoid = new_node(
            "HardSigmoid", [source], like=last, attributes=_SIXTH, stands_for=origins
        )
        sigmoid.outputs[0].type, sigmoid.outputs[0].shape = source.type, source.shape
        fused = new_node("Mul", [source, sigmoid.outputs[0]], like=last, stands_for=origins)
    else:
        attributes = activation.attributes
        fused = new_node(
            activation.op_type, [source], like=last, attributes=attributes, stands_for=origins
        )
    replace_pattern(last, fused.outputs[0])
    return True


def _require_possible(activation: Activation, version: int) -> None:
    splits = activation.op_type == "HardSwish" and len(activation.nodes) > 2
    if version < activation.min_opset and not splits:
        raise RefusedError(f"needs opset {activation.min_opset}, the model has {version}")
    if activation.last.outputs[0].dtype != ir.DataType.FLOAT:
        raise RefusedError(f"would be a {activation.op_type} of another type than FLOAT")
    require_enclosed(activation.nodes, activation.last)
