"""Which nodes go on computing in float32 when a model becomes half precision, and why."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bmopt.calibration.cast_chains import exact_nodes, guard_nodes, masks
from bmopt.calibration.cast_constants import constant_reason
from bmopt.calibration.cast_interiors import interior_reason
from bmopt.calibration.cast_ranges import CastRanges
from bmopt.calibration.placement import matches
from bmopt.core.cast_plan import CastPlan, HalfType
from bmopt.core.ranges import RangeTable
from bmopt.graph.half_ports import HalfPorts
from bmopt.graph.nesting import nodes_in
from bmopt.graph.values import constant_tensor, is_op

_NO_BFLOAT16 = ("ConvTranspose", "GRU", "HardSwish", "LpNormalization", "LpPool", "Mish")
"""Ops that TensorRT-RTX 1.7 refuses in bfloat16, in its parser or in its builder."""

_MOVERS = frozenset(
    {
        *("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice"),
        *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "DequantizeLinear"),
    }
)
"""Ops that lose nothing in float32 and gain nothing in half where their neighbours are float32."""


def make_cast_plan(
    model: ir.Model,
    dtype: HalfType,
    *,
    table: RangeTable | None,
    keep_float: Sequence[str] = (),
    keep_io: bool = True,
    model_digest: str,
) -> CastPlan:
    """Return the plan to compute ``model`` in ``dtype``.

    A node stays in float32 where

    1. ONNX has no such variant of its op, or its types are not known;
    2. ``keep_float`` names it: node names, globs or ``op:Type``;
    3. it computes indices or angles, which rounding would change for good;
    4. it guards a division or a logarithm with a number that would become zero;
    5. a tensor that it reads or writes was seen beyond half the format's largest number, or
       never above its smallest normal one, or it counts beyond the integers that are exact;
    6. a constant that it reads is beyond the format, and is no mask;
    7. what it sums up inside would be beyond, as far as its inputs' ranges tell;
    8. it only moves values between nodes that stay.

    Args:
        model: The model, with Q/DQ nodes or without; it is not changed.
        dtype: The half-precision type.
        table: Ranges by tensor name; without it rules 5 and 7 know constants only.
        keep_float: What the user wants to stay.
        keep_io: Inputs and outputs of the model keep their element types.
        model_digest: Binds the plan to the model.

    Raises:
        ModelError: ONNX's shape inference fails on the model.
    """
    return _Planner(model, dtype, table, keep_float, keep_io=keep_io).plan(model_digest)


class _Planner:
    def __init__(
        self,
        model: ir.Model,
        dtype: HalfType,
        table: RangeTable | None,
        keep_float: Sequence[str],
        *,
        keep_io: bool,
    ) -> None:
        self._keep_io = keep_io
        self._public = {*model.graph.inputs, *model.graph.outputs}
        self._ports = HalfPorts(model, dtype)
        self._keep_float = tuple(keep_float)
        self._nodes = [n for n in nodes_in(model.graph) if self._ports.touches_float(n)]
        self._masks = masks(self._nodes, self._ports.half)
        self._ranges = CastRanges(table, self._ports, self._masks)
        self._chains = guard_nodes(self._nodes, self._ports)
        self._chains |= exact_nodes(self._nodes, self._ports, self._ranges)

    def plan(self, model_digest: str) -> CastPlan:
        reasons = {node: reason for node in self._nodes if (reason := self._reason(node))}
        self._follow(reasons)
        return CastPlan(
            model=model_digest,
            dtype=self._ports.half.name,
            float_nodes={n.name or "": reasons[n] for n in self._nodes if n in reasons},
            keep_io=self._keep_io,
        )

    def _reason(self, node: ir.Node) -> str | None:
        if reason := self._ports.obstacle(node):
            return reason
        if self._ports.half.name == "bfloat16" and is_op(node, *_NO_BFLOAT16):
            return f"TensorRT has no bfloat16 {node.op_type}"
        if matches(node, self._keep_float):
            return "kept in float32 as asked"
        return (
            self._chains.get(node)
            or self._ranges.reason(node)
            or constant_reason(node, self._ports, self._masks)
            or interior_reason(node, self._ports, self._ranges)
        )

    def _follow(self, reasons: dict[ir.Node, str]) -> None:
        """Add the nodes that only move values between nodes that stay."""
        movers = [node for node in self._nodes if is_op(node, *_MOVERS)]
        found = True
        while found:
            found = False
            for node in movers:
                if node not in reasons and self._is_surrounded(node, reasons):
                    reasons[node] = "its neighbours stay in float32"
                    found = True

    def _is_surrounded(self, node: ir.Node, reasons: dict[ir.Node, str]) -> bool:
        """Whether all that make the node's float32 inputs, and all that read it, stay."""
        made = [v for v in node.inputs if v is not None and self._is_made(v)]
        if not is_op(node, "DequantizeLinear") and not all(
            self._is_public(v) if v.producer() is None else v.producer() in reasons for v in made
        ):
            return False
        readers = [user for out in node.outputs for user, _ in out.uses()]
        returned = [out for out in node.outputs if out.is_graph_output()]
        return (
            bool(made or readers)
            and all(user in reasons or is_op(user, "Shape") for user in readers)
            and all(self._is_public(out) for out in returned)
        )

    def _is_made(self, value: ir.Value) -> bool:
        return self._ports.is_float(value) and constant_tensor(value) is None

    def _is_public(self, value: ir.Value) -> bool:
        """Whether an input or output of the model keeps its type."""
        return self._keep_io and value in self._public
