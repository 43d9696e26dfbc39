"""Initialisers with the same contents are stored once; unused ones go."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import all_graphs, fresh_name, remove_unused_initializers

_SMALL = 64
"""Bytes up to which an initialiser stays in its sub-graph: shape inference reads it there only."""

_SAMPLE = 256
"""Elements compared before whole tensors are hashed."""


@dataclasses.dataclass(frozen=True)
class MergeInitializers(Pass):
    """Store equal initialisers once, across the main graph and its sub-graphs.

    1. An initialiser that nobody reads is removed.
    2. Within a graph, the first of equal initialisers serves all readers.
    3. One of more than 64 bytes that a sub-graph shares with another graph moves to the main one.

    Initialisers that can be fed, outputs of a graph, and text are left alone. Contents are only
    read where type, shape and a sample agree.
    """

    name: ClassVar[str] = "merge-initializers"

    def call(self, model: ir.Model) -> Outcome:
        """Merge and remove."""
        modified = remove_unused_initializers(model)
        groups: dict[Hashable, list[ir.Value]] = defaultdict(list)
        for graph in all_graphs(model):
            for value in graph.initializers.values():
                if _can_merge(value):
                    groups[_outline(value)].append(value)
        for group in groups.values():
            for equals in _split(group):
                modified |= _merge(equals, model.graph)
        return Outcome(model, modified=modified)


def _can_merge(value: ir.Value) -> bool:
    if value.is_graph_input() or value.is_graph_output() or value.const_value is None:
        return False
    return value.const_value.dtype != ir.DataType.STRING


def _outline(value: ir.Value) -> Hashable:
    tensor = value.const_value
    assert tensor is not None
    home = None if tensor.nbytes > _SMALL else id(value.graph)
    return (tensor.dtype, tuple(tensor.shape), home)


def _split(group: list[ir.Value]) -> Iterable[list[ir.Value]]:
    """Split values of one type and shape by contents: first a sample, then everything."""
    for sampled in _by(group, whole=False):
        yield from _by(sampled, whole=True)


def _by(group: list[ir.Value], *, whole: bool) -> list[list[ir.Value]]:
    if len(group) < 2:
        return []
    found: dict[Hashable, list[ir.Value]] = defaultdict(list)
    for value in group:
        found[_contents(value, whole=whole)].append(value)
    return [values for values in found.values() if len(values) > 1]


def _contents(value: ir.Value, *, whole: bool) -> Hashable:
    tensor = value.const_value
    assert tensor is not None
    array = tensor.numpy()
    if not whole:
        return array.flat[:_SAMPLE].tobytes()
    return hashlib.blake2b(np.ascontiguousarray(array).view(np.uint8).data).digest()


def _merge(equals: list[ir.Value], main: ir.Graph) -> bool:
    kept = equals[0]
    if kept.graph is not main and any(value.graph is not kept.graph for value in equals):
        kept = _move(kept, main)
    for value in equals:
        if value is not kept and value.uses():
            value.replace_all_uses_with(kept)
        if value is not kept and value.graph is not None:
            assert isinstance(value.graph, ir.Graph)
            assert value.name is not None
            del value.graph.initializers[value.name]
    return True


def _move(value: ir.Value, main: ir.Graph) -> ir.Value:
    moved = ir.Value(
        name=fresh_name(main, value.name or "constant"),
        type=value.type,
        shape=value.shape,
        const_value=value.const_value,
    )
    main.register_initializer(moved)
    return moved
