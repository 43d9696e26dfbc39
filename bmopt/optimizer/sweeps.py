"""Run a rule over every node until nothing changes, and collect why it left nodes alone."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from bmopt.graph.values import only_consumer
from bmopt.optimizer.pass_base import Outcome, Refusal
from bmopt.optimizer.rewrite import all_graphs

Rule = Callable[[ir.Node], bool]
"""Rewrites around one node: True if it did, False if it does not apply."""


class RefusedError(Exception):
    """A rewrite matched but must not be made; the text is the reason.

    Raised before anything has been changed, and caught by ``sweep``.
    """


def sweep(model: ir.Model, rule: Rule) -> Outcome:
    """Apply ``rule`` to every node of every graph until a whole round changes nothing.

    The refusals are those of the last round, so they speak of the model that is returned.
    """
    modified = False
    while True:
        changed, refusals = _round(model, rule)
        if not changed:
            return Outcome(model, modified, tuple(refusals))
        modified = True


def _round(model: ir.Model, rule: Rule) -> tuple[bool, list[Refusal]]:
    changed = False
    refusals: list[Refusal] = []
    for graph in all_graphs(model):
        for node in tuple(graph):
            if node.graph is None:  # An earlier rewrite of this round removed it.
                continue
            try:
                changed |= rule(node)
            except RefusedError as refused:
                refusals.append(Refusal(node.name or node.op_type, str(refused)))
    return changed, refusals


def require_private(value: ir.Value, reader: ir.Node) -> None:
    """Refuse unless ``reader`` alone reads ``value``, in the graph that makes it.

    Raises:
        RefusedError: Somebody else would miss the value.
    """
    producer = value.producer()
    if value.is_graph_output():
        raise RefusedError(f"reads {value.name!r}, which is a graph output")
    if only_consumer(value) is not reader:
        raise RefusedError(f"reads {value.name!r}, which is read elsewhere too")
    if producer is None or producer.graph is not reader.graph:
        raise RefusedError(f"reads {value.name!r}, which belongs to an outer graph")
