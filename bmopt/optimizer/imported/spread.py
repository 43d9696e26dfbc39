"""Ranges of tensors that the source left without: those of the tensors they are moved from."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bmopt.core.imported import ImportedRange
from bmopt.graph.nesting import nodes_in
from bmopt.graph.products import clip_bounds
from bmopt.graph.values import is_op

_REARRANGES = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Identity",
    "Reshape",
    "SpaceToDepth",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
"""Every value of the input is in the output, and the other way round."""

_SELECTS = (
    "Clip",
    "Gather",
    "GatherElements",
    "GatherND",
    "GlobalMaxPool",
    "MaxPool",
    "ReduceMax",
    "ReduceMin",
    "Relu",
    "Slice",
    "Split",
)
"""Every value of the output is in the input, or between one and 0."""


def spread_ranges(model: ir.Model, ranges: dict[ir.Value, ImportedRange]) -> None:
    """Add to ``ranges`` the tensors whose values are all among those of one that is there.

    Forwards through ops that rearrange or select; backwards through those that rearrange, and
    from a Concat to its parts. An encoding is passed on as it is.
    """
    nodes = list(nodes_in(model.graph))
    for node in nodes:
        _forward(node, ranges)
    for node in reversed(nodes):
        _backward(node, ranges)
    for node in nodes:
        _forward(node, ranges)


def _forward(node: ir.Node, ranges: dict[ir.Value, ImportedRange]) -> None:
    if is_op(node, "Clip") and not _is_plain_clip(node):
        return
    if is_op(node, *_REARRANGES, *_SELECTS):
        source = _known(node.inputs[:1], ranges)
        written = node.outputs[:1] if is_op(node, "MaxPool") else node.outputs
    elif is_op(node, "Concat"):
        source, written = _known(node.inputs, ranges), node.outputs
    else:
        return
    for out in written:
        if source is not None:
            ranges.setdefault(out, source)


def _is_plain_clip(node: ir.Node) -> bool:
    bounds = clip_bounds(node)
    return bounds is not None and bounds[0] <= 0.0 <= bounds[1]


def _known(
    values: Sequence[ir.Value | None], ranges: dict[ir.Value, ImportedRange]
) -> ImportedRange | None:
    """Return the widest range of ``values``, None where one is not known."""
    found = [ranges.get(value) for value in values if value is not None]
    known = [entry for entry in found if entry is not None]
    return max(known, key=lambda r: r.bound, default=None) if len(known) == len(found) else None


def _backward(node: ir.Node, ranges: dict[ir.Value, ImportedRange]) -> None:
    entry = ranges.get(node.outputs[0]) if node.outputs else None
    if entry is None:
        return
    read = node.inputs[:1] if is_op(node, *_REARRANGES) else ()
    read = node.inputs if is_op(node, "Concat") else read
    for value in read:
        if value is not None and value.const_value is None:
            ranges.setdefault(value, entry)
