"""The pass ``fuse-layer-norm``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.graph.values import constant_tensor, is_op, only_consumer, static_shape
from bmopt.optimizer.arithmetic.layer_norms import LayerNorm, layer_norm_at
from bmopt.optimizer.arithmetic.patterns import replace_pattern, require_enclosed
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import add_constant, new_node, opset, root_graph
from bmopt.optimizer.sweeps import RefusedError, sweep

_TYPES = (ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)


@dataclasses.dataclass(frozen=True)
class FuseLayerNorm(Pass):
    """Fuse a layer normalisation that is written out into one LayerNormalization.

    1. Mean, difference, variance, epsilon, root and quotient over the trailing axes, as
       ``bmopt.optimizer.arithmetic.layer_norms`` describes.
    2. A Mul by a constant of the normalised axes' shape becomes the scale, and an Add of one the
       bias; without a scale it is made of ones.

    Refused: an opset below 17, values inside that are read elsewhere, normalised axes of unknown
    size, and types that LayerNormalization does not take.
    """

    name: ClassVar[str] = "fuse-layer-norm"

    def call(self, model: ir.Model) -> Outcome:
        """Fuse every layer normalisation that can be."""
        version = opset(model)
        return sweep(model, lambda node: _fuse(node, version))


def _fuse(node: ir.Node, version: int) -> bool:
    norm = layer_norm_at(node)
    if norm is None:
        return False
    if version < norm.min_opset:
        raise RefusedError(f"needs opset {norm.min_opset}, the model has {version}")
    sizes = _sizes(norm)
    nodes = set(norm.nodes)
    last = norm.normalized
    scale, scaled = _constant_after(last, "Mul", sizes)
    bias, moved = _constant_after(scaled or last, "Add", sizes)
    for step in (scaled, moved):
        if step is not None:
            last = step
            nodes.add(step)
    require_enclosed(nodes, last)
    fused = new_node(
        "LayerNormalization",
        [norm.source, _fitted(scale, sizes, norm, last), _fitted(bias, sizes, norm, last)]
        if bias is not None
        else [norm.source, _fitted(scale, sizes, norm, last)],
        like=last,
        attributes={"axis": -norm.axes, "epsilon": norm.epsilon},
        stands_for=norm.nodes if scaled is None else (*norm.nodes, scaled),
    )
    replace_pattern(last, fused.outputs[0])
    return True


def _sizes(norm: LayerNorm) -> tuple[int, ...]:
    """Return the normalised axes' sizes."""
    shape = norm.source.shape
    sizes = [] if shape is None else [d for d in shape[-norm.axes :] if isinstance(d, int)]
    if len(sizes) != norm.axes:
        raise RefusedError("normalises axes of unknown size")
    if norm.source.dtype not in _TYPES:
        raise RefusedError("normalises a type that LayerNormalization does not take")
    return tuple(sizes)


def _constant_after(
    node: ir.Node, op_type: str, sizes: tuple[int, ...]
) -> tuple[ir.Value | None, ir.Node | None]:
    """Return the constant that a following ``op_type`` applies, and that node."""
    out = node.outputs[0]
    step = only_consumer(out)
    if step is None or not is_op(step, op_type) or step.graph is not node.graph:
        return None, None
    other = step.inputs[1] if step.inputs[0] is out else step.inputs[0]
    tensor = constant_tensor(other)
    if tensor is None:
        return None, None
    shape = tuple(int(d) for d in tensor.shape.numpy())
    rank = static_rank(out)
    fits = tensor.size == 1 or shape[-len(sizes) :] == sizes
    leading_ones = all(d == 1 for d in shape[: -len(sizes)])
    if not fits or not leading_ones or rank is None or len(shape) > rank:
        return None, None
    return other, step


def static_rank(value: ir.Value) -> int | None:
    """Return the rank of ``value`` if it is known."""
    return None if value.shape is None else value.shape.rank()


def _fitted(
    constant: ir.Value | None, sizes: tuple[int, ...], norm: LayerNorm, last: ir.Node
) -> ir.Value:
    """Return ``constant`` with exactly the shape ``sizes``; ones where there is none."""
    if constant is not None and static_shape(constant) == sizes:
        return constant
    assert norm.source.dtype is not None
    tensor = constant_tensor(constant)
    array = np.ones(sizes, norm.source.dtype.numpy())
    if tensor is not None:
        old = tensor.numpy()
        array = (np.broadcast_to(old.reshape(-1), sizes) if old.size == 1 else old).reshape(sizes)
    return add_constant(root_graph(last), f"{last.name}.scale", array)
