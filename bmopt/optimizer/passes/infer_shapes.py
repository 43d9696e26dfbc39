"""Types and shapes of intermediate values, by ONNX's inference and two facts of our own."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx
import onnx_ir as ir

from bmopt.graph.values import is_op, subgraphs_of
from bmopt.optimizer.inference_proto import graph_infos, infer_proto, subgraph_protos
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.shape_rules import read_shape_values
from bmopt.optimizer.shape_values import ShapeValues, nodes_in_order
from bmopt.optimizer.symbolic import Item, Product, divide, multiply_all

_GENERATED = "unk__"
"""Prefix of the names that ONNX's inference gives to sizes it does not know."""


@dataclasses.dataclass(frozen=True)
class InferShapes(Pass):
    """Write inferred types and shapes into the model.

    Only adds: a declared size is never replaced, a contradiction between a declared and an
    inferred shape leaves the declared one. Then names that inference made up are replaced by
    the axis they equal, where a Reshape shows it: the -1 in ``Reshape(float[N,3,4], [-1,12])``
    is ``N``. Sub-graphs are included. ``modified`` says that a type or shape was added.
    """

    name: ClassVar[str] = "infer-shapes"

    def call(self, model: ir.Model) -> Outcome:
        """Infer, merge, then name the sizes that are known by another name."""
        try:
            proto = infer_proto(model)
        except (onnx.shape_inference.InferenceError, ValueError) as error:
            reason = f"shape inference gave up: {str(error).splitlines()[0]}"
            refusal = Refusal(model.graph.name or "graph", reason)
            return Outcome(model, modified=False, refusals=(refusal,))
        modified = _merge_graph(model.graph, proto.graph)
        modified |= _name_sizes(model)
        return Outcome(model, modified=modified)


def _merge_graph(graph: ir.Graph, proto: onnx.GraphProto) -> bool:
    infos = graph_infos(proto)
    modified = False
    for node, node_proto in zip(graph, proto.node, strict=True):
        for value in node.outputs:
            info = infos.get(value.name or "")
            if info is not None and not value.is_graph_output():
                modified |= _merge_value(value, info)
            elif info is not None:
                modified |= _complete_output(value, info)
        for sub, sub_proto in zip(subgraphs_of(node), subgraph_protos(node_proto), strict=True):
            for value in sub.inputs:
                info = graph_infos(sub_proto).get(value.name or "")
                modified |= info is not None and _merge_value(value, info)
            modified |= _merge_graph(sub, sub_proto)
    return modified


def _complete_output(value: ir.Value, info: onnx.ValueInfoProto) -> bool:
    """Fill in what an output's declaration leaves out altogether."""
    if value.type is not None and value.shape is not None:
        return False
    return _merge_value(value, info)


def _merge_value(value: ir.Value, info: onnx.ValueInfoProto) -> bool:
    if not info.type.HasField("tensor_type"):
        return False
    tensor = info.type.tensor_type
    modified = False
    if value.type is None and tensor.elem_type:
        value.type = ir.TensorType(ir.DataType(tensor.elem_type))
        modified = True
    if not tensor.HasField("shape"):
        return modified
    inferred = [_read_dim(dim) for dim in tensor.shape.dim]
    if value.shape is None:
        value.shape = ir.Shape(inferred)
        return True
    if value.shape.rank() != len(inferred):
        return modified
    merged = [_better(old, new) for old, new in zip(value.shape, inferred, strict=True)]
    if merged == list(value.shape):
        return modified
    value.shape = ir.Shape(merged)
    return True


def _read_dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return dim.dim_value
    return dim.dim_param or None


def _better(old: int | ir.SymbolicDim, new: int | str | None) -> int | str | ir.SymbolicDim | None:
    if isinstance(old, int) or new is None:
        return old
    return new if isinstance(new, int) or old.value is None else old


def _name_sizes(model: ir.Model) -> bool:
    values = read_shape_values(model)
    names: dict[str, Item] = {}
    nodes = nodes_in_order(model.graph)
    for node in nodes:
        if is_op(node, "Reshape"):
            names.update(_reshaped_sizes(node, values))
    if not names:
        return False
    changed = [_rename_dims(out, names) for node in nodes for out in node.outputs]
    return any(changed)


def _reshaped_sizes(node: ir.Node, values: ShapeValues) -> dict[str, Item]:
    """Return generated names of the output's axes and the sizes they must be."""
    out = node.outputs[0]
    data, dims = values.dims(node.inputs[0]), values.dims(out)
    if data is None or dims is None or out.is_graph_output():
        return {}
    unknown = [dim for dim in dims if _is_generated(dim)]
    if len(unknown) != 1 or not isinstance(unknown[0], Product):
        return {}
    rest = multiply_all([dim for dim in dims if dim != unknown[0]])
    size = divide(multiply_all(data), rest)
    if size is None or size == unknown[0] or not _is_plain(size):
        return {}
    return {unknown[0].symbols[0]: size}


def _is_generated(item: Item) -> bool:
    return isinstance(item, Product) and item.symbols[0].startswith(_GENERATED)


def _is_plain(item: Item) -> bool:
    """Whether a shape can hold ``item``: a number, or one axis' own name."""
    if isinstance(item, int):
        return True
    return item.factor == 1 and len(item.symbols) == 1 and "@" not in item.symbols[0]


def _rename_dims(value: ir.Value, names: dict[str, Item]) -> bool:
    if value.shape is None or value.shape.is_static():
        return False
    new = ir.Shape([_renamed(dim, names) for dim in value.shape])
    if list(new) == list(value.shape):
        return False
    value.shape = new
    return True


def _renamed(dim: int | ir.SymbolicDim, names: dict[str, Item]) -> int | str | None:
    if isinstance(dim, int):
        return dim
    item = names.get(dim.value or "")
    if item is None:
        return dim.value
    return item if isinstance(item, int) else item.symbols[0]
