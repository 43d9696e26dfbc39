"""How channels pass what is told the sizes of its output, and what reads sizes."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.graph.channels.flow import Flow, sizes_of
from bmopt.graph.channels.movers import numbers
from bmopt.graph.channels.size_vectors import (
    elements,
    follow,
    is_looked_at,
    keep_counted,
    shape_axes,
)


def resize(flow: Flow, node: ir.Node) -> None:
    """Resize and Upsample: what they do not stretch passes."""
    labels, before, after = (
        flow.labels(node.inputs[0]), sizes_of(node.inputs[0]), sizes_of(node.outputs[0]),
    )  # fmt: skip
    same = [a is not None and a == b for a, b in zip(before, after, strict=False)]
    has_sizes = len(node.inputs) > 3 and numbers(node, 3) != []
    found = elements(flow, node.inputs[3]) if has_sizes else []
    if not labels or len(same) != len(labels) or found is None:
        flow.keep_inputs(node, f"how {node.name!r} stretches is not known")
        keep_counted(flow, node, 3)
        return
    for units, is_same in zip(labels, same, strict=True):
        if not is_same:
            flow.keep(units, f"{node.name!r} stretches it")
    passed = [units if is_same else None for units, is_same in zip(labels, same, strict=True)]
    flow.write(node.outputs[0], passed)
    if len(found) == len(passed):
        follow(flow, node, passed)


def expand(flow: Flow, node: ir.Node) -> None:
    """Expand: what it does not stretch passes."""
    labels, rank = flow.labels(node.inputs[0]), len(sizes_of(node.outputs[0]))
    passed = (*(None,) * (rank - len(labels)), *labels)
    if len(labels) > rank or not follow(flow, node, passed):
        flow.keep_inputs(node, f"the shape that {node.name!r} expands to is not known")
        return
    flow.write(node.outputs[0], passed)


def shape(flow: Flow, node: ir.Node) -> None:
    """Shape: fine where nobody looks at the axes that channels lie along, but rules here."""
    labels, axes = flow.labels(node.inputs[0]), shape_axes(flow, node)
    for place, axis in enumerate(axes):
        units = labels[axis]
        if units is not None and is_looked_at(node.outputs[0], place, len(axes)):
            flow.keep(units, f"{node.name!r} reads its size")
