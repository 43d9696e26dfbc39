"""Which inputs an engine reads in 8 bits that wants Q/DQ pairs before its kernels only.

The engine fuses what follows a product into it, so nothing is quantised behind one for its own
sake. Integers travel between kernels because the pair before the next product moves up into the
kernel that writes the tensor.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from bmopt.calibration.float_rules import rule_reason
from bmopt.calibration.placement import KEPT, NEAR_INPUT, matches, range_reason, weight_reason
from bmopt.calibration.residual import Residuals
from bmopt.core.ranges import RangeTable
from bmopt.core.scheme import Scheme
from bmopt.graph.products import Product, product_of
from bmopt.graph.values import constant_tensor, is_op

_MOST_FLOAT8_TAPS = 32
"""Beyond it TensorRT-RTX 1.7 silently takes a float kernel."""


@dataclasses.dataclass(frozen=True)
class InputPlacement:
    """The decision per node of the main graph.

    Attributes:
        reads: Node -> the indices of the inputs that it reads in 8 bits, in graph order.
        reasons: Node name -> why it stays in float, for nodes that have an integer kernel.
    """

    reads: Mapping[ir.Node, tuple[int, ...]]
    reasons: Mapping[str, str]


def place_inputs(
    graph: ir.Graph, table: RangeTable, scheme: Scheme, keep_float: Sequence[str] = ()
) -> InputPlacement:
    """Decide for every node of ``graph``.

    1. A product by a constant weight reads its data in 8 bits unless a rule, a missing range or
       the user speaks against it.
    2. An Add that closes a residual block around such a convolution reads its skip so, unless
       another node needs the skip in float.
    3. A Concat reads all its inputs so if everything behind it reads its output so.
    """
    return _Placer(table, scheme, tuple(keep_float)).run(graph)


def passes_on(node: ir.Node, scheme: Scheme) -> bool:
    """Whether ``node`` only moves the values of its first input, whole, to its output."""
    if not is_op(node, *scheme.movers):
        return False
    return node.op_type != "Resize" or node.attributes.get_string("mode", "nearest") == "nearest"


class _Placer:
    def __init__(self, table: RangeTable, scheme: Scheme, keep_float: Sequence[str]) -> None:
        self._table = table
        self._scheme = scheme
        self._keep_float = keep_float
        self._prefix_left = scheme.rules.prefix
        self._reads: dict[ir.Node, tuple[int, ...]] = {}
        self._reasons: dict[str, str] = {}

    def run(self, graph: ir.Graph) -> InputPlacement:
        for node in self._able(graph, self._scheme.products):
            self._decide(node, (0,), self._product_reason(node))
        residuals = Residuals(graph, frozenset(self._reads))
        for node in self._able(graph, self._scheme.followers & {"Add"}):
            skip, why_none = residuals.skip_of(node)
            skips = () if skip is None else (skip,)
            reason = why_none or self._range_reason(node, skips)
            self._decide(node, skips, reason or self._skip_reason(node, skips))
        for node in reversed(list(self._able(graph, self._scheme.followers & {"Concat"}))):
            reads = tuple(range(len(node.inputs)))
            self._decide(node, reads, self._concat_reason(node, reads))
        in_order = {node: self._reads[node] for node in graph if node in self._reads}
        return InputPlacement(in_order, self._reasons)

    def _able(self, graph: ir.Graph, op_types: frozenset[str]) -> Iterator[ir.Node]:
        """Yield nodes of ``op_types``, but for those that the user keeps in float."""
        for node in graph:
            if is_op(node, *op_types):
                if matches(node, self._keep_float):
                    self._reasons[node.name or ""] = KEPT
                else:
                    yield node

    def _decide(self, node: ir.Node, reads: tuple[int, ...], reason: str | None) -> None:
        if reason:
            self._reasons[node.name or ""] = reason
        else:
            self._reads[node] = reads

    def _product_reason(self, node: ir.Node) -> str | None:
        product = product_of(node)
        if product is None:
            return "its weight is not constant"
        if node.inputs[0] is None or constant_tensor(node.inputs[0]) is not None:
            return "its input is constant"
        if len(product.shape) < 2:
            return "its weight is not a matrix"
        taps = math.prod(product.shape[2:]) if is_op(node, "Conv", "ConvTranspose") else 1
        if self._scheme.weight.dtype == "float8e4m3fn" and taps > _MOST_FLOAT8_TAPS:
            return f"float8 filters have {_MOST_FLOAT8_TAPS} taps at most, this one has {taps}"
        reason = weight_reason(product) or self._range_reason(node, (0,))
        return reason or self._rule_reason(product)

    def _rule_reason(self, product: Product) -> str | None:
        if self._prefix_left > 0:
            self._prefix_left -= 1
            return NEAR_INPUT
        return rule_reason(product, self._scheme.rules)

    def _skip_reason(self, node: ir.Node, reads: tuple[int, ...]) -> str | None:
        """Say where a skip has to be written in float anyway, so that 8 bits would only round."""
        for index in reads:
            value = node.inputs[index]
            if value is None or value.is_graph_output():
                return "its skip is an output of the model"
            if not all(self._reads_8_bits(*use) or is_op(use[0], "Add") for use in value.uses()):
                return "something else reads its skip in float"
        return None

    def _concat_reason(self, node: ir.Node, reads: tuple[int, ...]) -> str | None:
        values = [node.inputs[index] for index in reads]
        if any(value is None or constant_tensor(value) is not None for value in values):
            return "one operand is constant"
        if not self._is_read_in_8_bits(node.outputs[0]):
            return "something behind it reads floats"
        return self._range_reason(node, reads)

    def _is_read_in_8_bits(self, value: ir.Value) -> bool:
        """Whether all that read ``value``, directly or moved, read it through a Q/DQ pair."""
        uses = tuple(value.uses())
        if value.is_graph_output() or not uses:
            return False
        return all(self._reads_8_bits(node, index) for node, index in uses)

    def _reads_8_bits(self, node: ir.Node, index: int) -> bool:
        if index in self._reads.get(node, ()):
            return True
        return index == 0 and passes_on(node, self._scheme) and self._is_moved_in_8_bits(node)

    def _is_moved_in_8_bits(self, node: ir.Node) -> bool:
        unused = [v for v in node.outputs[1:] if v.uses() or v.is_graph_output()]
        return not unused and self._is_read_in_8_bits(node.outputs[0])

    def _range_reason(self, node: ir.Node, reads: tuple[int, ...]) -> str | None:
        values = [value for index in reads if (value := node.inputs[index]) is not None]
        if any(value.dtype not in (None, ir.DataType.FLOAT) for value in values):
            return "its input is not float32"
        return range_reason(self._table, values)
