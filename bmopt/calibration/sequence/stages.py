"""Runs of nodes between cuts of a graph, and what has to be handed from one to the next."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bmopt.errors import CalibrationError
from bmopt.graph.nesting import subgraphs_of
from bmopt.graph.pieces import is_constant_node, names_read
from bmopt.graph.values import constant_tensor

_RANDOM_OPS = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)


def stages_of(
    graph: ir.Graph, cuts: Sequence[str], *, before: bool = False
) -> list[list[ir.Node]]:
    """Return the nodes of every stage, without nodes that are constants.

    Args:
        graph: A sorted graph.
        cuts: Names of its nodes at which stages end, in graph order.
        before: A stage ends before its cut, and one more stage holds the last cut alone;
            otherwise a stage ends with its cut.

    Raises:
        CalibrationError: A cut is not in the graph, or not in this order.
    """
    found: list[list[ir.Node]] = [[]]
    left = list(cuts)
    for node in graph:
        if not left or is_constant_node(node):
            continue
        is_cut = node.name == left[0]
        if is_cut and before:
            found.append([])
        found[-1].append(node)
        if is_cut:
            left.pop(0)
            if not before:
                found.append([])
    if left:
        raise CalibrationError(f"node {left[0]!r}: is not in the model, or not in this order")
    return found if before else found[:-1]


def last_readers(stages: Sequence[Sequence[ir.Node]]) -> dict[str, int]:
    """Return tensor -> the last stage that reads it."""
    last: dict[str, int] = {}
    for stage, nodes in enumerate(stages):
        for node in nodes:
            last.update(dict.fromkeys(names_read(node), stage))
    return last


def fixed_nodes(graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes that depend on no input, such as those that decode stored weights."""
    found: dict[ir.Node, None] = {}
    for node in graph:
        if is_constant_node(node) or (_is_repeatable(node) and _reads_only(node, found)):
            found[node] = None
    return list(found)


def _is_repeatable(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type in _RANDOM_OPS:
        return False
    return bool(node.inputs) and not subgraphs_of(node)


def _reads_only(node: ir.Node, fixed: dict[ir.Node, None]) -> bool:
    return all(
        value is None or value.producer() in fixed or constant_tensor(value) is not None
        for value in node.inputs
    )
