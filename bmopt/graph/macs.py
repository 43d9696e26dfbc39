"""Multiply-accumulates of a node, from the shapes of what it reads and writes.

One MAC is one product added to a sum. Element-wise work, pooling and normalisation count as
none, as is usual.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx_ir as ir

Shape = tuple[int, ...]

ShapeOf = Callable[[ir.Value], Shape | None]
"""Value -> its shape where every axis is a known number, else None."""

_Rule = Callable[[Sequence[Shape], Shape], int]


def macs_of(node: ir.Node, shape_of: ShapeOf) -> int | None:
    """Return how many MACs one run of ``node`` takes; None where a shape is not known.

    Einsum counts as not known; the bodies of control flow are counted by their own nodes.
    """
    if node.op_type == "Einsum":
        return None
    found = _RULES.get((node.domain, node.op_type)) or _RULES.get(("*", node.op_type))
    if found is None or node.domain not in ("", "com.microsoft"):
        return 0
    operands, rule = found
    shapes: list[Shape] = []
    for index in operands:
        value = node.inputs[index] if index < len(node.inputs) else None
        shape = None if value is None else shape_of(value)
        if shape is None:
            return None
        shapes.append(shape)
    written = _first_shape(node, shape_of)
    if written is None:
        return None
    try:
        return rule(shapes, written)
    except IndexError:
        return None


def _first_shape(node: ir.Node, shape_of: ShapeOf) -> Shape | None:
    """Return the first output's shape; a recurrent node may leave that output out."""
    if not node.outputs or not node.outputs[0].name:
        return ()
    shape = shape_of(node.outputs[0])
    return () if shape is None and node.op_type in _RECURRENT else shape


def _conv(shapes: Sequence[Shape], out: Shape) -> int:
    return math.prod(out) * math.prod(shapes[1][1:])


def _conv_transpose(shapes: Sequence[Shape], _out: Shape) -> int:
    return math.prod(shapes[0]) * math.prod(shapes[1][1:])


def _matmul(shapes: Sequence[Shape], out: Shape) -> int:
    return math.prod(out) * shapes[0][-1]


def _gemm(shapes: Sequence[Shape], out: Shape) -> int:
    # The depth is what the first operand has beside the rows, however it is transposed.
    return math.prod(shapes[0]) * out[-1]


def _recurrent(shapes: Sequence[Shape], _out: Shape) -> int:
    steps_and_batch = shapes[0][0] * shapes[0][1]
    return steps_and_batch * (math.prod(shapes[1]) + math.prod(shapes[2]))


def _attention(shapes: Sequence[Shape], out: Shape) -> int:
    query, key = shapes
    return (math.prod(query) + math.prod(out)) * key[-2]


def _packed_attention(shapes: Sequence[Shape], out: Shape) -> int:
    data, weight = shapes
    return math.prod(data) * weight[1] + 2 * math.prod(out) * data[1]


_RECURRENT = ("LSTM", "GRU", "RNN")

_RULES: dict[tuple[str, str], tuple[tuple[int, ...], _Rule]] = {
    ("*", "Conv"): ((0, 1), _conv),
    ("*", "ConvInteger"): ((0, 1), _conv),
    ("*", "FusedConv"): ((0, 1), _conv),
    ("*", "QLinearConv"): ((0, 3), _conv),
    ("*", "ConvTranspose"): ((0, 1), _conv_transpose),
    ("*", "MatMul"): ((0, 1), _matmul),
    ("*", "MatMulInteger"): ((0, 1), _matmul),
    ("*", "MatMulIntegerToFloat"): ((0, 1), _matmul),
    ("*", "DynamicQuantizeMatMul"): ((0, 1), _matmul),
    ("*", "QLinearMatMul"): ((0, 3), _matmul),
    ("*", "Gemm"): ((0, 1), _gemm),
    ("*", "FusedGemm"): ((0, 1), _gemm),
    ("*", "QGemm"): ((0, 3), _gemm),
    **{("*", name): ((0, 1, 2), _recurrent) for name in _RECURRENT},
    ("", "Attention"): ((0, 1), _attention),
    ("com.microsoft", "Attention"): ((0, 1), _packed_attention),
    ("com.microsoft", "MultiHeadAttention"): ((0, 1), _attention),
}
"""Domain (``*`` is any) and op -> which inputs its rule reads, and the rule."""
