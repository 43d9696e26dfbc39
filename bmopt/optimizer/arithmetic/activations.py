"""Activation functions written out in primitive ops.

With ``k = sqrt(2 / pi)`` (Hendrycks and Gimpel, 2016; Howard et al., 2019):

=========================  ==============================================
GELU                       ``0.5 x (1 + erf(x / sqrt(2)))``
GELU, tanh                 ``0.5 x (1 + tanh(k (x + 0.044715 x^3)))``
HardSigmoid                ``clip(a x + b, 0, c) / c`` where ``b / c`` is 0.5
HardSwish                  ``x clip(x + 3, 0, 6) / 6``
=========================  ==============================================

SiLU, ``x sigmoid(x)``, stays as it is: ONNX Runtime 1.31 has no CPU kernel for opset 24's Swish
and runs its definition as Cast, Mul, Sigmoid and Mul, in 2.5 times the time of the QuickGelu that
it makes of Sigmoid and Mul by itself (183 and 74 microseconds on float[1,64,56,56], one thread).
"""

from __future__ import annotations

import dataclasses
import math

import onnx_ir as ir

from bmopt.graph.values import constant_scalar, is_op, only_consumer
from bmopt.optimizer.arithmetic.patterns import escapes, sole_readers
from bmopt.optimizer.arithmetic.polynomials import (
    ARITHMETIC,
    Polynomial,
    Reading,
    leaves,
    resembles,
)
from bmopt.optimizer.rewrite import root_graph

_K = math.sqrt(2 / math.pi)
_GELU: Polynomial = {(1, 0): 0.5, (1, 1): 0.5}
_MAX_STEPS = 4


@dataclasses.dataclass(frozen=True)
class Activation:
    """One activation function.

    Attributes:
        op_type: The op that computes it.
        attributes: Its attributes.
        min_opset: The first opset that has it.
        source: Its argument.
        last: The node that writes its result.
        nodes: All its nodes.
    """

    op_type: str
    attributes: dict[str, float | str]
    min_opset: int
    source: ir.Value
    last: ir.Node
    nodes: frozenset[ir.Node]


def activation_at(node: ir.Node) -> Activation | None:
    """Return the activation whose Erf, Tanh, Clip or HardSigmoid ``node`` is, else None."""
    if is_op(node, "Erf"):
        return _gelu(node, {(1,): math.sqrt(0.5)}, {})
    if is_op(node, "Tanh"):
        return _gelu(node, {(1,): _K, (3,): 0.044715 * _K}, {"approximate": "tanh"})
    if is_op(node, "Clip"):
        return _hard_swish_of_clip(node) or _hard_sigmoid(node)
    if is_op(node, "HardSigmoid"):
        return _hard_swish_of_sigmoid(node)
    return None


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Return the constant bounds of a Clip, infinite where it has none."""
    bounds = [
        node.attributes.get_float("min", -math.inf),
        node.attributes.get_float("max", math.inf),
    ]
    for index, value in enumerate(node.inputs[1:3]):
        if value is None:
            continue
        number = constant_scalar(value)
        if number is None:
            return None
        bounds[index] = number
    return bounds[0], bounds[1]


def _gelu(
    node: ir.Node, inner: Polynomial, attributes: dict[str, float | str]
) -> Activation | None:
    argument = node.inputs[0]
    if argument is None:
        return None
    for source in leaves(argument):
        reading = Reading(root_graph(node), [source])
        if resembles(reading.of(argument), inner, node.outputs[0].dtype):
            outer = _climb(node, source, _GELU)
            if outer is not None:
                last, nodes = outer
                whole = frozenset({node, *reading.nodes, *nodes})
                return Activation("Gelu", attributes, 20, source, last, whole)
    return None


def _climb(
    node: ir.Node, source: ir.Value, wanted: Polynomial
) -> tuple[ir.Node, set[ir.Node]] | None:
    """Go from ``node`` down to where ``wanted`` of ``source`` and its output is complete."""
    inner = node.outputs[0]
    values = [inner]
    for _ in range(_MAX_STEPS):
        steps = [step for value in values for step in sole_readers(value, *ARITHMETIC)]
        values = []
        for step in dict.fromkeys(steps):
            reading = Reading(root_graph(node), [source, inner])
            polynomial = reading.of(step.outputs[0])
            if resembles(polynomial, wanted, inner.dtype):
                return step, reading.nodes
            if polynomial is not None:
                values.append(step.outputs[0])
    return None


def _hard_swish_of_clip(clip: ir.Node) -> Activation | None:
    if clip_bounds(clip) != (0.0, 6.0) or clip.inputs[0] is None:
        return None
    for source in leaves(clip.inputs[0]):
        reading = Reading(root_graph(clip), [source])
        if resembles(reading.of(clip.inputs[0]), {(1,): 1.0, (0,): 3.0}, clip.outputs[0].dtype):
            outer = _climb(clip, source, {(1, 1): 1 / 6})
            if outer is not None:
                whole = frozenset({clip, *reading.nodes, *outer[1]})
                return Activation("HardSwish", {}, 14, source, outer[0], whole)
    return None


def _hard_swish_of_sigmoid(sigmoid: ir.Node) -> Activation | None:
    slope = sigmoid.attributes.get_float("alpha", 0.2)
    offset = sigmoid.attributes.get_float("beta", 0.5)
    source = sigmoid.inputs[0]
    if source is None or not math.isclose(slope, 1 / 6, rel_tol=1e-4) or offset != 0.5:
        return None
    outer = _climb(sigmoid, source, {(1, 1): 1.0})
    if outer is None:
        return None
    return Activation("HardSwish", {}, 14, source, outer[0], frozenset({sigmoid, *outer[1]}))


def _hard_sigmoid(clip: ir.Node) -> Activation | None:
    low, high = clip_bounds(clip) or (1.0, 0.0)
    argument = clip.inputs[0]
    if low != 0 or not 0 < high < math.inf or argument is None:
        return None
    last, nodes = clip, {clip}
    if high != 1:
        outer = _divided(clip, high)
        if outer is None:
            return None
        last, nodes = outer
    # The farthest argument takes the most nodes in.
    for source in reversed(leaves(argument)):
        reading = Reading(root_graph(clip), [source])
        line = _line(reading.of(argument))
        if line is None or not math.isclose(line[1] / high, 0.5, rel_tol=1e-4):
            continue
        whole = frozenset({clip, *nodes, *reading.nodes})
        if not escapes(whole, last):
            attributes: dict[str, float | str] = {"alpha": line[0] / high, "beta": line[1] / high}
            return Activation("HardSigmoid", attributes, 6, source, last, whole)
    return None


def _divided(clip: ir.Node, high: float) -> tuple[ir.Node, set[ir.Node]] | None:
    """Return the node that divides the Clip's output by its upper bound."""
    step = only_consumer(clip.outputs[0])
    if step is None or step.graph is not clip.graph:
        return None
    reading = Reading(root_graph(clip), [clip.outputs[0]])
    quotient: Polynomial = {(1,): 1 / high}
    if not resembles(reading.of(step.outputs[0]), quotient, clip.outputs[0].dtype):
        return None
    return step, reading.nodes


def _line(polynomial: Polynomial | None) -> tuple[float, float] | None:
    """Return slope and offset of a rising straight line."""
    if polynomial is None or polynomial.keys() != {(0,), (1,)} or polynomial[(1,)] <= 0:
        return None
    return polynomial[(1,)], polynomial[(0,)]
