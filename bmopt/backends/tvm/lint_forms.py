"""Forms of ops that TVM's importer refuses, or takes for others without a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from bmopt.graph.values import constant_tensor

Form = Callable[[ir.Node], str]
"""Returns what is wrong with a node, as the end of a sentence; empty where nothing is."""


def _trains(node: ir.Node) -> str:
    return "is in training mode" if node.attributes.get_int("training_mode", 0) else ""


def _drops(node: ir.Node) -> str:
    if len(node.outputs) > 1 and _is_read(node.outputs[1]):
        return "gives a mask"
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    if mode is None:
        return ""
    tensor = constant_tensor(mode)
    return "may be in training mode" if tensor is None or tensor.numpy().any() else ""


def _gives_indices(node: ir.Node) -> str:
    has_second = len(node.outputs) > 1 and _is_read(node.outputs[1])
    return "gives indices" if has_second else ""


def _is_read(value: ir.Value) -> bool:
    return bool(value.name) and (bool(value.uses()) or value.is_graph_output())


def _has_shape(node: ir.Node) -> str:
    return "asks for a shape of its output" if "output_shape" in node.attributes else ""


def _takes_largest(node: ir.Node) -> str:
    return "takes the largest" if node.attributes.get_string("mode", "avg") == "max" else ""


def _is_crd(node: ir.Node) -> str:
    return "has its blocks in front" if node.attributes.get_string("mode", "DCR") != "DCR" else ""


def _in_blocks(node: ir.Node) -> str:
    return "has scales for blocks" if node.attributes.get_int("block_size", 0) else ""


def _computed(place: int, what: str) -> Form:
    def form(node: ir.Node) -> str:
        value = node.inputs[place] if place < len(node.inputs) else None
        return f"has {what} that are computed" if value and constant_tensor(value) is None else ""

    return form


_AXES = _computed(1, "axes")
FORMS: Mapping[str, Form] = {
    "BatchNormalization": _trains,
    "ConvTranspose": _has_shape,
    "CumSum": _computed(1, "axes"),
    "DequantizeLinear": _in_blocks,
    "Dropout": _drops,
    "MaxPool": _gives_indices,
    "QuantizeLinear": _in_blocks,
    "RoiAlign": _takes_largest,
    "SpaceToDepth": _is_crd,
    "TopK": _computed(1, "numbers of elements"),
    **{f"Reduce{one}": _AXES for one in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean")},
    **{f"Reduce{one}": _AXES for one in ("Min", "Prod", "Sum", "SumSquare")},
}
"""Op of the standard domain -> what its form is asked."""
