"""What a group of nodes has to do at least: multiply-accumulates, and bytes in and out of it.

Bytes are those of the tensors that cross the group's border, at their own precision: what one node
of the group hands to another need not leave the processor. Constants are read. What picks elements
reads no more than it writes, and what gives a tensor another shape alone moves nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import onnx_ir as ir

from bmopt.graph.concrete_values import KnownValue
from bmopt.graph.macs import Shape, macs_of
from bmopt.graph.values import constant_tensor

_PICKERS = frozenset({"Gather", "GatherElements", "GatherND", "Slice", "Split"})
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze"})


@dataclasses.dataclass(frozen=True)
class Work:
    """One run of a group of nodes; None is what depends on a shape that is not known.

    Attributes:
        macs: Multiply-accumulates; element-wise work counts as none.
        read_bytes: Bytes of the activations and constants that come in, each once.
        written_bytes: Bytes of the tensors that others read, or that are outputs.
    """

    macs: int | None
    read_bytes: int | None
    written_bytes: int | None

    @property
    def bytes(self) -> int | None:
        """Bytes in and out."""
        if self.read_bytes is None or self.written_bytes is None:
            return None
        return self.read_bytes + self.written_bytes


def work_of(nodes: Sequence[ir.Node], known: Mapping[str, KnownValue]) -> Work:
    """Return the work of ``nodes`` together, with types and shapes by ``concrete_values``.

    Bodies of control flow count only where their nodes are among ``nodes``.
    """
    if all(node.op_type in _VIEWS for node in nodes):
        return Work(0, 0, 0)
    inside = set(nodes)
    read = {value: None for node in nodes for value in node.inputs if _comes_in(value, inside)}
    written = [value for node in nodes for value in node.outputs if _goes_out(value, inside)]
    return Work(
        macs=_total(macs_of(node, shapes_of(known)) for node in nodes),
        read_bytes=_total(_read(value, inside, known) for value in read if value is not None),
        written_bytes=_total(bytes_of(value, known) for value in written),
    )


def shapes_of(known: Mapping[str, KnownValue]) -> Callable[[ir.Value], Shape | None]:
    """Return what tells the shape of a value of the graph that ``known`` is of."""

    def shape_of(value: ir.Value) -> Shape | None:
        tensor = constant_tensor(value)
        if tensor is not None:
            return tuple(int(size) for size in tensor.shape.numpy())
        found = known.get(value.name or "")
        return None if found is None else found.shape

    return shape_of


def bytes_of(value: ir.Value, known: Mapping[str, KnownValue]) -> int | None:
    """Return how many bytes a tensor has; None where its type or shape is not known."""
    tensor = constant_tensor(value)
    if tensor is not None:
        return int(tensor.nbytes)
    found = known.get(value.name or "")
    if found is None or found.shape is None or found.dtype == ir.DataType.STRING:
        return None
    return math.ceil(math.prod(found.shape) * found.dtype.bitwidth / 8)


def _comes_in(value: ir.Value | None, inside: set[ir.Node]) -> bool:
    """Whether a group reads ``value`` from outside; a Constant node is part of its reader."""
    if value is None or not value.name:
        return False
    return value.producer() not in inside or constant_tensor(value) is not None


def _read(value: ir.Value, inside: set[ir.Node], known: Mapping[str, KnownValue]) -> int | None:
    whole = bytes_of(value, known)
    readers = [node for node in value.consumers() if node in inside]
    if whole is None or any(node.op_type not in _PICKERS for node in readers):
        return whole
    picked = _total(bytes_of(out, known) for node in readers for out in node.outputs if out.name)
    return whole if picked is None else min(whole, picked)


def _goes_out(value: ir.Value, inside: set[ir.Node]) -> bool:
    if not value.name or constant_tensor(value) is not None:
        return False
    if value.is_graph_output():
        return True
    readers = set(value.consumers())
    writer = value.producer()
    if writer is not None and writer.op_type == "DequantizeLinear" and readers & inside:
        # Its reader reads the integers; so does every other reader, which is none of ours.
        return False
    return bool(readers - inside)


def _total(parts: Iterable[int | None]) -> int | None:
    found = list(parts)
    known = [part for part in found if part is not None]
    return sum(known) if len(known) == len(found) else None
