"""Write a partly known shape vector with as few nodes as it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from bmopt.optimizer.rewrite import add_constant, new_node, opset, root_graph
from bmopt.optimizer.shapes.symbolic import Item, Product
from bmopt.optimizer.shapes.values import Elements, ShapeValues

_FIRST_PARTIAL_SHAPE = 15
"""The opset from which Shape takes ``start`` and ``end``."""


@dataclasses.dataclass(frozen=True)
class _Run:
    """Neighbouring elements: numbers, or axes ``start`` to ``end`` of ``source``."""

    numbers: tuple[int, ...] = ()
    source: ir.Value | None = None
    start: int = 0
    end: int = 0


def shorter_vector(
    value: ir.Value, elements: Elements, values: ShapeValues, model: ir.Model
) -> ir.Value | None:
    """Return a new value equal to ``value`` that needs fewer nodes, None where there is none.

    The new nodes stand before the producer of ``value``; ``value`` itself is left in place.
    """
    producer = value.producer()
    if producer is None or elements.is_scalar or value.dtype != ir.DataType.INT64:
        return None
    runs = _runs(elements, values)
    if runs is None or not all(_is_visible(run, producer, model.graph) for run in runs):
        return None
    cone, version = _own_cone(producer, {run.source for run in runs}), opset(model)
    if _cost(runs, version) >= len(cone):
        return None
    parts = [_write(run, producer, cone, version) for run in runs]
    if len(parts) == 1:
        return parts[0]
    return _typed(
        new_node("Concat", parts, like=producer, attributes={"axis": 0}, stands_for=cone)
    )


def _runs(elements: Elements, values: ShapeValues) -> list[_Run] | None:
    runs: list[_Run] = []
    for item in elements.items:
        last = runs[-1] if runs else _Run()
        if _is_next_axis(last, item, values):
            runs[-1] = dataclasses.replace(last, end=last.end + 1)
            continue
        run = _single(item, values)
        if run is None:
            return None
        if runs and run.source is None and last.source is None:
            runs[-1] = _Run(numbers=last.numbers + run.numbers)
        else:
            runs.append(run)
    return runs


def _is_next_axis(run: _Run, item: Item, values: ShapeValues) -> bool:
    dims = values.dims(run.source)
    return dims is not None and run.end < len(dims) and dims[run.end] == item


def _single(item: Item, values: ShapeValues) -> _Run | None:
    if not isinstance(item, Product):
        return _Run(numbers=(item,))
    if item.factor != 1 or len(item.symbols) != 1 or item.symbols[0] not in values.sources:
        return None
    source, axis = values.sources[item.symbols[0]]
    return _Run(source=source, start=axis, end=axis + 1)


def _is_visible(run: _Run, user: ir.Node, main: ir.Graph) -> bool:
    return run.source is None or run.source.graph is user.graph or run.source.graph is main


def _cost(runs: list[_Run], version: int) -> int:
    each = 1 if version >= _FIRST_PARTIAL_SHAPE else 2
    axes = (1 if _is_whole(run) else each for run in runs if run.source is not None)
    return sum(axes) + (len(runs) > 1)


def _is_whole(run: _Run) -> bool:
    shape = None if run.source is None else run.source.shape
    return shape is not None and run.start == 0 and run.end == shape.rank()


def _own_cone(node: ir.Node, kept: set[ir.Value | None]) -> list[ir.Node]:
    """Return the nodes that would die with ``node``, it first, while ``kept`` are in use."""
    cone = {node: None}
    stack = list(_producers(node))
    while stack:
        candidate = stack.pop()
        if candidate in cone:
            continue
        outs = candidate.outputs
        if not kept.isdisjoint(outs):
            continue
        if any(
            out.is_graph_output() or any(u.node not in cone for u in out.uses()) for out in outs
        ):
            continue
        cone[candidate] = None
        stack.extend(_producers(candidate))
    return list(cone)


def _producers(node: ir.Node) -> Iterator[ir.Node]:
    for value in node.inputs:
        producer = None if value is None else value.producer()
        if producer is not None:
            yield producer


def _write(run: _Run, like: ir.Node, cone: list[ir.Node], version: int) -> ir.Value:
    if run.source is None:
        return add_constant(root_graph(like), "sizes", np.array(run.numbers, np.int64))
    if _is_whole(run):
        return _typed(new_node("Shape", [run.source], like=like, stands_for=cone))
    if version >= _FIRST_PARTIAL_SHAPE:
        ends = {"start": run.start, "end": run.end}
        return _typed(new_node("Shape", [run.source], like=like, attributes=ends, stands_for=cone))
    whole = _typed(new_node("Shape", [run.source], like=like, stands_for=cone))
    axes = np.arange(run.start, run.end, dtype=np.int64)
    indices = add_constant(root_graph(like), "axes", axes)
    return _typed(new_node("Gather", [whole, indices], like=like, stands_for=cone))


def _typed(node: ir.Node) -> ir.Value:
    node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    return node.outputs[0]
