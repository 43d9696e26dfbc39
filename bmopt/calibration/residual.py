"""Which Adds close a residual block, and which of their operands is the skip.

An engine computes ``Conv -> Add -> Relu`` in one kernel: the convolution's sums are added to
while they are still wide, so only the other operand, the skip, is read from memory and gains
from 8 bits. Of two operands that both end in a convolution, the one on the longer way from where
they part is that kernel's own; the shorter one is the skip.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence

import onnx_ir as ir

from bmopt.graph.values import constant_tensor, is_op, only_consumer

_BOTH = 3

_Place = ir.Node | ir.Value
"""Where a value comes from: its node, or itself if it is an input of the graph."""


class Residuals:
    """Finds the skips of one graph's Adds."""

    def __init__(self, graph: ir.Graph, integer: Collection[ir.Node]) -> None:
        """Take the products that run in 8 bits as ``integer``."""
        self._integer = integer
        self._position: Mapping[ir.Node, int] = {node: i for i, node in enumerate(graph)}

    def skip_of(self, node: ir.Node) -> tuple[int | None, str]:
        """Return the index of the Add's skip; or None and why it has none."""
        operands = [value for value in node.inputs if value is not None]
        if len(operands) != 2 or operands[0] is operands[1] or any(map(_is_constant, operands)):
            return None, "one operand is constant, or both are the same"
        if _broadcasts(operands):
            return None, "its operands differ in shape"
        fused = [self._ends_in_convolution(value) for value in operands]
        if not any(fused):
            return None, "no operand comes from a convolution in 8 bits alone"
        ways = self._ways(operands)
        if ways is None:
            return None, "its operands have no source in common"
        longer = 1 if ways[1] > ways[0] or (ways[1] == ways[0] and not fused[0]) else 0
        if not fused[longer]:
            return None, "the convolution is on the shorter way to it"
        return 1 - longer, ""

    def _ends_in_convolution(self, value: ir.Value | None) -> bool:
        """Whether a convolution in 8 bits and what is fused into it alone give ``value``."""
        while value is not None and only_consumer(value) is not None:
            node = value.producer()
            if node is None:
                return False
            if node in self._integer:
                return is_op(node, "Conv", "ConvTranspose")
            value = _fused_source(node)
        return False

    def _ways(self, operands: Sequence[ir.Value]) -> tuple[int, int] | None:
        """Return how many nodes each operand is behind the last place both depend on.

        The longest way counts. Places are visited from the last to the first, so that one is
        done before anything that it depends on.
        """
        reached: dict[_Place, int] = {}
        ways: tuple[dict[_Place, int], dict[_Place, int]] = {}, {}
        queue: list[tuple[int, int, _Place]] = []

        def reach(value: ir.Value, sides: int, behind: Sequence[int]) -> None:
            place = value.producer() or value
            if place not in reached:
                position = self._position.get(place, -1) if isinstance(place, ir.Node) else -1
                heapq.heappush(queue, (-position, len(reached), place))
            reached[place] = reached.get(place, 0) | sides
            for side in (0, 1):
                if sides >> side & 1:
                    ways[side][place] = max(ways[side].get(place, 0), behind[side])

        reach(operands[0], 1, (0, 0))
        reach(operands[1], 2, (0, 0))
        while queue:
            _, _, place = heapq.heappop(queue)
            sides = reached[place]
            if sides == _BOTH:
                return ways[0][place], ways[1][place]
            if isinstance(place, ir.Node):
                behind = [ways[side].get(place, 0) + 1 for side in (0, 1)]
                for value in place.inputs:
                    if value is not None and not _is_constant(value):
                        reach(value, sides, behind)
        return None


def _fused_source(node: ir.Node) -> ir.Value | None:
    """Return the value on which a node that an engine fuses works; None for any other node."""
    if is_op(node, "BatchNormalization", "Relu", "Clip"):
        return node.inputs[0]
    if not is_op(node, "Add", "Mul"):
        return None
    varying = [value for value in node.inputs if not _is_constant(value)]
    return varying[0] if len(varying) == 1 else None


def _is_constant(value: ir.Value | None) -> bool:
    return constant_tensor(value) is not None


def _broadcasts(operands: Sequence[ir.Value]) -> bool:
    """Whether the operands are known to differ in shape."""
    first, second = (None if v.shape is None else list(v.shape) for v in operands)
    if first is None or second is None:
        return False
    pairs = zip(first, second, strict=False)
    return len(first) != len(second) or any(
        isinstance(one, int) and isinstance(other, int) and one != other for one, other in pairs
    )
