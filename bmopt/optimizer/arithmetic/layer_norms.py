"""Layer normalisation written out in primitive ops, as exporters below opset 17 do.

``d = x - mean(x);  n = d / sqrt(mean(d * d) + eps);  y = n * scale + bias``
(Ba, Kiros and Hinton, 2016), found from its square root outwards. Variants: the square as Pow or
Mul, the division as Div, Reciprocal and Mul, or Pow by -0.5; ``x - mean(x)`` computed twice; Casts
to the type a value has already; a whole that is computed in FLOAT between Casts from and to
FLOAT16; scale or bias missing.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.values import constant_array, constant_scalar, is_op, only_consumer, producer_of
from bmopt.optimizer.arithmetic.patterns import escapes, scalar_operand, sole_readers


@dataclasses.dataclass(frozen=True)
class LayerNorm:
    """One layer normalisation.

    Attributes:
        min_opset: The first opset that has LayerNormalization.
        source: What is normalised.
        axes: How many trailing axes are normalised over.
        epsilon: What is added to the variance.
        normalized: The node that divides, or the Cast after it.
        nodes: All nodes up to ``normalized``.
    """

    source: ir.Value
    axes: int
    epsilon: float
    normalized: ir.Node
    nodes: tuple[ir.Node, ...]
    min_opset: ClassVar[int] = 17


def layer_norm_at(root: ir.Node) -> LayerNorm | None:
    """Return the layer normalisation whose square root ``root`` is, None where it is of none.

    Whether values inside are read elsewhere is the caller's to check.
    """
    if not (is_op(root, "Sqrt") or (is_op(root, "Pow") and _exponent(root) == -0.5)):
        return None
    variance, epsilon, nodes = _variance_of(root)
    quotient = _quotient(root, nodes)
    if variance is None or quotient is None:
        return None
    divide, centred = quotient
    mean_of_squares = producer_of(variance, "ReduceMean")
    base = _square_base(mean_of_squares, nodes)
    first, second = _centre(centred, nodes), _centre(base, nodes)
    if mean_of_squares is None or first is None or first != second:
        return None
    source, axes = first
    if _trailing_axes(mean_of_squares) != axes:
        return None
    ordered = tuple(dict.fromkeys([*nodes, mean_of_squares, root, divide]))
    return _without_casts(LayerNorm(source, axes, epsilon, divide, ordered))


def _exponent(node: ir.Node) -> float | None:
    return constant_scalar(node.inputs[1])


def _variance_of(root: ir.Node) -> tuple[ir.Value | None, float, list[ir.Node]]:
    """Return what the epsilon is added to, the epsilon, and the Add."""
    add = producer_of(root.inputs[0], "Add")
    operand = scalar_operand(add) if add is not None else None
    if add is None or operand is None or not 0 <= operand[1] < 1:
        return root.inputs[0], 0.0, []
    return operand[0], operand[1], [add]


def _quotient(root: ir.Node, nodes: list[ir.Node]) -> tuple[ir.Node, ir.Value] | None:
    """Return the node that divides by the root, and what it divides."""
    out = root.outputs[0]
    if root.op_type == "Sqrt":
        for divide in sole_readers(out, "Div"):
            centred = divide.inputs[0]
            if (
                divide.inputs[1] is out
                and centred is not None
                and constant_scalar(centred) is None
            ):
                return divide, centred
        inverse = sole_readers(out, "Reciprocal")
        inverse += [n for n in sole_readers(out, "Div") if constant_scalar(n.inputs[0]) == 1]
        if not inverse:
            return None
        nodes.append(inverse[0])
        out = inverse[0].outputs[0]
    for multiply in sole_readers(out, "Mul"):
        other = multiply.inputs[0] if multiply.inputs[1] is out else multiply.inputs[1]
        if other is not None and other is not out:
            return multiply, other
    return None


def _square_base(mean: ir.Node | None, nodes: list[ir.Node]) -> ir.Value | None:
    """Return what is squared before ``mean``."""
    square = producer_of(mean.inputs[0], "Pow", "Mul") if mean is not None else None
    if square is None:
        return None
    nodes.append(square)
    if square.op_type == "Mul":
        return square.inputs[0] if square.inputs[0] is square.inputs[1] else None
    return square.inputs[0] if _exponent(square) == 2 else None


def _centre(value: ir.Value | None, nodes: list[ir.Node]) -> tuple[ir.Value, int] | None:
    """Return ``x`` and the number of axes where ``value`` is ``x - mean(x)``."""
    while (cast := producer_of(value, "Cast")) is not None and _is_idle_cast(cast):
        nodes.append(cast)
        value = cast.inputs[0]
    subtract = producer_of(value, "Sub")
    if subtract is None:
        return None
    source, mean = subtract.inputs[0], producer_of(subtract.inputs[1], "ReduceMean")
    if source is None or mean is None or mean.inputs[0] is not source:
        return None
    nodes.extend((subtract, mean))
    axes = _trailing_axes(mean)
    return None if axes is None else (source, axes)


def _is_idle_cast(cast: ir.Node) -> bool:
    source = cast.inputs[0]
    return (
        source is not None
        and source.dtype is not None
        and source.dtype == cast.attributes.get_int("to", 0)
    )


def _trailing_axes(mean: ir.Node) -> int | None:
    """Return over how many trailing axes ``mean`` reduces, None where over others too."""
    if not mean.attributes.get_int("keepdims", 1):
        return None
    axes = mean.attributes.get_ints("axes", ())
    if len(mean.inputs) > 1 and mean.inputs[1] is not None:
        array = constant_array(mean.inputs[1])
        axes = [] if array is None else [int(axis) for axis in array.reshape(-1)]
    shape = mean.inputs[0].shape if mean.inputs[0] is not None else None
    if not axes or (shape is None and max(axes) >= 0):
        return None
    rank = shape.rank() if shape is not None else 0
    from_end = sorted(axis - rank if axis >= 0 else axis for axis in axes)
    return len(axes) if from_end == list(range(-len(axes), 0)) else None


def _without_casts(norm: LayerNorm) -> LayerNorm:
    """Take in the Casts around a normalisation that is computed in FLOAT for FLOAT16 data."""
    before = producer_of(norm.source, "Cast")
    after = only_consumer(norm.normalized.outputs[0])
    if before is None or after is None or not is_op(after, "Cast"):
        return norm
    source = before.inputs[0]
    if (
        source is None
        or source.dtype != ir.DataType.FLOAT16
        or after.attributes.get_int("to", 0) != ir.DataType.FLOAT16
        or after.graph is not before.graph
    ):
        return norm
    nodes = (*norm.nodes, before, after)
    if escapes({*nodes}, after):
        return norm
    return dataclasses.replace(norm, source=source, normalized=after, nodes=nodes)
