"""Which activations can be stored less a constant, without a node more, and by whom.

The constant is one number, so pools and whatever only moves values let it pass unchanged. It is
taken off at the bias of the product before a Relu or Clip and given back at those of the products
behind it, which must see it at every tap: zeros beside the data would not be shifted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import onnx_ir as ir

from bmopt.graph.products import Product, clip_after, clip_bounds, product_of
from bmopt.graph.values import constant_array, is_op

_WITH_BIAS = ("Conv", "ConvTranspose", "Gemm")
_MOVING = frozenset(
    {
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops that give ``f(t - c) = f(t) - c``; a MaxPool pads with minus infinity."""


@dataclasses.dataclass(frozen=True)
class ShiftChain:
    """An activation that can be shifted.

    Attributes:
        writer: The product before the Relu or Clip.
        clip: The Relu or Clip; the activation is what it writes.
        readers: The products that read the activation, moved or pooled on the way or not; in
            graph order.
    """

    writer: ir.Node
    clip: ir.Node
    readers: tuple[ir.Node, ...]

    @property
    def tensor(self) -> ir.Value:
        """The activation."""
        return self.clip.outputs[0]

    @property
    def bounds(self) -> tuple[float, float]:
        """What the activation is clipped to."""
        bounds = clip_bounds(self.clip)
        assert bounds is not None
        return bounds


@dataclasses.dataclass(frozen=True)
class ShiftChains:
    """All such activations of a graph.

    Attributes:
        found: Those that can be shifted, in graph order.
        refused: What a Relu or Clip behind a product writes and cannot be shifted -> reason.
    """

    found: tuple[ShiftChain, ...]
    refused: dict[str, str]


class _StuckError(Exception):
    """The shift cannot go on; the text is the reason."""


def shift_chains(graph: ir.Graph) -> ShiftChains:
    """Find them behind every product of the main graph."""
    order = {node: index for index, node in enumerate(graph)}
    found: list[ShiftChain] = []
    refused: dict[str, str] = {}
    for writer in graph:
        product = product_of(writer)
        clip = None if product is None else clip_after(writer)
        if product is None or clip is None:
            continue
        try:
            _require_bias(product)
            readers = set(_readers(graph, clip.outputs[0]))
        except _StuckError as reason:
            refused[clip.outputs[0].name or ""] = str(reason)
        else:
            found.append(ShiftChain(writer, clip, tuple(sorted(readers, key=order.__getitem__))))
    return ShiftChains(tuple(found), refused)


def _readers(graph: ir.Graph, value: ir.Value) -> Iterator[ir.Node]:
    if value.is_graph_output():
        raise _StuckError(f"{value.name!r} is a graph output")
    if not value.uses():
        raise _StuckError(f"nothing reads {value.name!r}")
    for node, index in value.uses():
        if node.graph is not graph:
            raise _StuckError(f"{value.name!r} is read in a sub-graph")
        if index == 0 and _is_moved(node):
            yield from _readers(graph, node.outputs[0])
        else:
            _require_reader(node, index)
            yield node


def _is_moved(node: ir.Node) -> bool:
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return False
    return is_op(node, *_MOVING) or (is_op(node, "AveragePool") and _averages_data_only(node))


def _averages_data_only(node: ir.Node) -> bool:
    if not node.attributes.get_int("count_include_pad", 0):
        return True
    return not _pads(node) and node.attributes.get_int("ceil_mode", 0) == 0


def _require_reader(node: ir.Node, index: int) -> None:
    """Raise unless the node gives back what was taken off its data."""
    label = f"{node.op_type} {node.name!r}"
    product = product_of(node) if index == 0 else None
    if product is None:
        raise _StuckError(f"{label} reads it, which has no bias to give the shift back")
    if is_op(node, "ConvTranspose"):
        raise _StuckError(f"{label} reads it, whose borders see less of it")
    if is_op(node, "Conv") and _pads(node):
        raise _StuckError(f"{label} reads it and pads it with zeros")
    if node.attributes.get_int("transA", 0):
        raise _StuckError(f"{label} reads it and transposes it")
    _require_bias(product)


def _pads(node: ir.Node) -> bool:
    padding = node.attributes.get_string("auto_pad", "NOTSET")
    return any(node.attributes.get_ints("pads", ())) or padding not in ("NOTSET", "VALID")


def _require_bias(product: Product) -> None:
    """Raise unless the product has a constant bias per output channel, or can get one."""
    node = product.node
    label = f"{node.op_type} {node.name!r}"
    if not is_op(node, *_WITH_BIAS):
        raise _StuckError(f"{label} has no bias")
    if product.bias is None:
        return
    channels = product.channels * (product.groups if is_op(node, "ConvTranspose") else 1)
    bias = constant_array(node.inputs[product.bias])
    if bias is None:
        raise _StuckError(f"the bias of {label} is computed")
    if bias.size not in (1, channels) or bias.shape[-1:] not in ((), (bias.size,)):
        raise _StuckError(f"the bias of {label} is not one per channel")
