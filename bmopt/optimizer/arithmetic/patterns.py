"""Small questions that pattern matchers ask."""

from __future__ import annotations

import math
from collections.abc import Collection

import onnx_ir as ir

from bmopt.graph.values import constant_scalar, is_op
from bmopt.optimizer.rewrite import remove_dead, replace_output
from bmopt.optimizer.sweeps import RefusedError

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def scalar_operand(node: ir.Node) -> tuple[ir.Value, float] | None:
    """Return ``(other, number)`` of a two-input node of which one is a constant number."""
    if len(node.inputs) != 2 or node.inputs[0] is None or node.inputs[1] is None:
        return None
    for value, other in ((node.inputs[1], node.inputs[0]), (node.inputs[0], node.inputs[1])):
        number = constant_scalar(value)
        if number is not None and constant_scalar(other) is None:
            return (other, number) if keeps_rank(other, value) else None
    return None


def keeps_rank(value: ir.Value, constant: ir.Value) -> bool:
    """Whether broadcasting ``constant`` leaves ``value``'s shape alone."""
    rank = constant.shape.rank() if constant.shape is not None else 0
    return rank == 0 or (value.shape is not None and value.shape.rank() >= rank)


def is_near(number: float, wanted: float, dtype: ir.DataType | None) -> bool:
    """Whether ``number`` is ``wanted`` as an exporter writes it in ``dtype``."""
    return math.isclose(number, wanted, rel_tol=1e-3 if dtype in _HALVES else 1e-4)


def sole_readers(value: ir.Value, *op_types: str) -> list[ir.Node]:
    """Return those readers of ``value`` in its graph that are one of ``op_types``."""
    return [
        use.node
        for use in value.uses()
        if is_op(use.node, *op_types) and use.node.graph is value.graph
    ]


def escapes(nodes: Collection[ir.Node], last: ir.Node | None) -> list[ir.Value]:
    """Return the values inside a pattern that are read outside of it, or are graph outputs."""
    inside = [out for node in nodes if node is not last for out in node.outputs]
    return [
        out
        for out in inside
        if out.is_graph_output() or any(use.node not in nodes for use in out.uses())
    ]


def require_enclosed(nodes: Collection[ir.Node], last: ir.Node) -> None:
    """Refuse where a value inside a pattern is needed outside of it.

    Raises:
        RefusedError: Fusing would not remove the pattern's nodes.
    """
    for out in sorted(escapes(nodes, last), key=lambda value: value.name or ""):
        needed = "a graph output" if out.is_graph_output() else "read elsewhere too"
        raise RefusedError(f"is part of a pattern whose {out.name!r} is {needed}")


def replace_pattern(last: ir.Node, new: ir.Value) -> None:
    """Let ``new`` stand for what ``last`` computed, and remove what nobody reads any more."""
    replace_output(last.outputs[0], new)
    remove_dead([last])
