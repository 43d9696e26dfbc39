"""Which nodes run in integers, and why the others do not."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.calibration.float_rules import rule_reason
from bmopt.core.ranges import RangeTable
from bmopt.core.scheme import Scheme
from bmopt.graph.origin import origin_of
from bmopt.graph.products import Product, clip_after, clip_bounds, product_of
from bmopt.graph.values import constant_scalar, constant_tensor

NEAR_INPUT = "so near the input it is faster in float"
KEPT = "kept in float as asked"


@dataclasses.dataclass(frozen=True)
class Placement:
    """The decision per node of the main graph.

    Attributes:
        integer: Nodes to run in integers, in graph order.
        reasons: Node name -> why it stays in float, for nodes that have an integer kernel.
    """

    integer: tuple[ir.Node, ...]
    reasons: Mapping[str, str]


def place(
    graph: ir.Graph, table: RangeTable, scheme: Scheme, keep_float: Sequence[str] = ()
) -> Placement:
    """Decide for every node of ``graph``, from its inputs to its outputs.

    1. A product by a constant weight runs in integers unless a rule, a missing range or the
       user speaks against it.
    2. A follower does when all its inputs are there in integers already.
    3. A mover does when what it moves is there in integers already.
    """
    return _Placer(table, scheme, tuple(keep_float)).run(graph)


def final_output(node: ir.Node) -> ir.Value:
    """Return the tensor that is stored after ``node``: behind a Relu or Clip that follows it."""
    clip = clip_after(node)
    return node.outputs[0] if clip is None else clip.outputs[0]


def matches(node: ir.Node, patterns: Sequence[str]) -> bool:
    """Whether a pattern means the node.

    A pattern is ``op:Type``, or the name or a glob of the node, of one of its outputs, or of a
    source node that it stands for.
    """
    names = [node.name or "", *origin_of(node), *(v.name or "" for v in node.outputs)]
    for pattern in patterns:
        if pattern.startswith("op:"):
            if fnmatch.fnmatchcase(node.op_type, pattern[3:]):
                return True
        elif any(name == pattern or fnmatch.fnmatchcase(name, pattern) for name in names):
            return True
    return False


class _Placer:
    def __init__(self, table: RangeTable, scheme: Scheme, keep_float: Sequence[str]) -> None:
        self._table = table
        self._scheme = scheme
        self._keep_float = keep_float
        self._there: set[ir.Value] = set()
        self._prefix_left = scheme.rules.prefix

    def run(self, graph: ir.Graph) -> Placement:
        integer: list[ir.Node] = []
        reasons: dict[str, str] = {}
        for node in graph:
            reason = self._reason(node)
            if reason is None:
                integer.append(node)
                self._there.update(_data_inputs(node))
                self._there.update(self._outputs(node))
            elif reason:
                reasons[node.name or ""] = reason
        for node in self._useless_movers(integer):
            integer.remove(node)
            reasons[node.name or ""] = "nothing behind it runs in integers"
        return Placement(tuple(integer), reasons)

    def _outputs(self, node: ir.Node) -> tuple[ir.Value, ...]:
        """Return the tensors that a node in integers stores; a mover folds no activation."""
        if node.op_type in self._scheme.movers:
            return (node.outputs[0],)
        return node.outputs[0], final_output(node)

    def _useless_movers(self, integer: Sequence[ir.Node]) -> list[ir.Node]:
        """Return movers for whose sake alone a product would have to quantise its output."""
        left = set(integer)
        for node in reversed(integer):
            if (
                node.op_type in self._scheme.movers
                and self._moves_optional(node)
                and not any(user in left for user, _ in node.outputs[0].uses())
            ):
                left.remove(node)
        return [node for node in integer if node not in left]

    def _moves_optional(self, node: ir.Node) -> bool:
        """Whether what a mover moves comes from a product that can write float."""
        source: ir.Node | None = node
        while source is not None and source.op_type in self._scheme.movers:
            source = _above(source)
        if source is not None and clip_bounds(source) is not None:
            source = _above(source)
        return source is not None and source.op_type in self._scheme.output_optional

    def _reason(self, node: ir.Node) -> str | None:
        """Return None for integers, ``""`` where no integer kernel exists, else the reason."""
        scheme = self._scheme
        if node.domain not in ("", "ai.onnx") or node.op_type not in (
            scheme.products | scheme.followers | scheme.movers
        ):
            return ""
        if matches(node, self._keep_float):
            return KEPT
        if node.op_type in scheme.products:
            return self._product_reason(node)
        reason = _shape_reason(node) or self._inputs_reason(node)
        # A mover passes its input's encoding on.
        written = [] if node.op_type in scheme.movers else [final_output(node)]
        return reason or self._range_reason([*_data_inputs(node), *written])

    def _product_reason(self, node: ir.Node) -> str | None:
        product = product_of(node)
        if product is None:
            return "its weight is not constant"
        data = node.inputs[0]
        if data is None or constant_tensor(data) is not None:
            return "its input is constant"
        reason = _form_reason(product) or self._range_reason([data, final_output(node)])
        return reason or self._rule_reason(product)

    def _rule_reason(self, product: Product) -> str | None:
        if self._prefix_left > 0:
            self._prefix_left -= 1
            return NEAR_INPUT
        return rule_reason(product, self._scheme.rules)

    def _inputs_reason(self, node: ir.Node) -> str | None:
        missing = [v for v in _data_inputs(node) if v not in self._there]
        if not missing and _data_inputs(node):
            return None
        return "its input is in float"

    def _range_reason(self, values: Sequence[ir.Value]) -> str | None:
        return range_reason(self._table, values)


def range_reason(table: RangeTable, values: Sequence[ir.Value]) -> str | None:
    """Say why one of ``values`` has no range to quantise it with; None where all have."""
    for value in values:
        entry = table.tensors.get(value.name or "")
        if entry is None:
            return f"no range for tensor {value.name!r}"
        if entry.is_zero:
            return f"tensor {value.name!r} never left zero in calibration"
        if entry.infinities:
            return f"tensor {value.name!r} holds infinities"
    return None


def weight_reason(product: Product) -> str | None:
    """Say why the weight of ``product`` cannot be stored in 8 bits; None where it can."""
    weight = constant_tensor(product.node.inputs[1])
    if weight is None or weight.dtype != ir.DataType.FLOAT:
        return "its weight is not float32"
    return None if np.isfinite(product.weight()).all() else "its weight holds infinities"


def _above(node: ir.Node) -> ir.Node | None:
    value = node.inputs[0]
    return None if value is None else value.producer()


def _form_reason(product: Product) -> str | None:
    """Say why the form of the product has no integer kernel."""
    node = product.node
    if reason := weight_reason(product):
        return reason
    if product.bias is not None and (reason := _bias_reason(node.inputs[product.bias])):
        return reason
    if node.op_type == "MatMul" and len(product.shape) != 2:
        return "its weight is not a matrix"
    if node.op_type == "Gemm":
        get = node.attributes.get_float
        if get("alpha", 1.0) != 1.0 or get("beta", 1.0) != 1.0:
            return "its alpha or beta is not 1"
        if node.attributes.get_int("transA", 0):
            return "it transposes its input"
    return None


def _bias_reason(value: ir.Value | None) -> str | None:
    bias = constant_tensor(value)
    if bias is None:
        return "its bias is not constant"
    if bias.size != 1 and bias.shape.numpy()[-1:] != (bias.size,):
        return "its bias differs between rows"
    return None if np.isfinite(bias.numpy()).all() else "its bias holds infinities"


def _shape_reason(node: ir.Node) -> str | None:
    """Say why the form of a follower or mover has no integer kernel."""
    if node.op_type == "MaxPool" and len(node.outputs) > 1:
        return "its indices are used"
    if node.op_type == "AveragePool" and set(node.attributes.get_ints("dilations", ())) - {1}:
        return "it is dilated"
    if node.op_type == "Pad":
        mode = node.attributes.get_string("mode", "constant")
        value = node.inputs[2] if len(node.inputs) > 2 else None
        if mode == "constant" and value is not None and constant_scalar(value) != 0.0:
            return "it pads with a value that is not zero"
    if node.op_type in ("Add", "Mul") and len(set(_data_inputs(node))) < 2:
        return "one operand is constant, or both are the same"
    if node.op_type == "Concat" and len(_data_inputs(node)) < len(node.inputs):
        return "one operand is constant"
    return None


_ONE_DATA_INPUT = frozenset(
    {"Reshape", "Slice", "Squeeze", "Unsqueeze", "Pad", "Conv", "Gemm", "MatMul"}
)


def _data_inputs(node: ir.Node) -> list[ir.Value]:
    """Return the activations among the inputs of a node that has an integer kernel."""
    values = node.inputs[:1] if node.op_type in _ONE_DATA_INPUT else node.inputs
    return [v for v in values if v is not None and constant_tensor(v) is None]
