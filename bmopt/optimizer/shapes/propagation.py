"""Shapes that follow from computed sizes, which ONNX's own inference does not see.

One sweep: the shape interpreter knows the elements of computed targets, so Reshape, Expand and
ConstantOfShape get their shapes from it; what follows them is inferred node by node. A size that a
Reshape multiplied, as where tokens join the batch, is known again where it is divided; and what
inference names anew where two tensors meet that are as long, has the name that both have.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir
from onnx_ir import serde

from bmopt.graph.nesting import subgraphs_of
from bmopt.graph.values import is_op
from bmopt.optimizer.rewrite import opset
from bmopt.optimizer.shapes.inference_proto import GENERATED, node_proto
from bmopt.optimizer.shapes.rules import read_shape_values
from bmopt.optimizer.shapes.sizes import SIZES
from bmopt.optimizer.shapes.symbolic import Item, is_named
from bmopt.optimizer.shapes.values import ShapeValues, nodes_in_order

_READ_BYTES = 1024


def propagate(model: ir.Model) -> bool:
    """Complete the shapes of ``model``; return whether any changed."""
    sweep = _Sweep(opset(model))
    read_shape_values(model, sweep.visit)
    names = {old: new for old, new in sweep.names.items() if old != new}
    if names:
        for node in nodes_in_order(model.graph):
            for out in node.outputs:
                sweep.modified |= not out.is_graph_output() and _rename_dims(out, names)
    return sweep.modified


class _Sweep:
    """Completes shapes node by node.

    Attributes:
        names: Generated name -> the number or name of the size that it is.
        modified: Whether a shape was added.
    """

    def __init__(self, version: int) -> None:
        self.names: dict[str, int | str] = {}
        self.modified = False
        self._version = version

    def visit(self, node: ir.Node, values: ShapeValues) -> None:
        if not node.outputs or node.outputs[0].is_graph_output():
            return
        if is_op(node, "GroupNormalization") and node.outputs[0].type is None:
            # ONNX defines it as a function and infers nothing.
            node.outputs[0].type = None if node.inputs[0] is None else node.inputs[0].type
        if is_op(node, *SIZES):
            self._complete(node.outputs[0], SIZES[node.op_type](node, values), values)
        if node.outputs[0].shape is None:
            self.modified |= _infer_node(node, self._version)

    def _complete(self, out: ir.Value, sizes: Sequence[Item] | None, values: ShapeValues) -> None:
        if sizes is None:
            return
        if out.shape is None:
            out.shape = ir.Shape([_as_dim(size) for size in sizes])
            self.modified = True
        elif out.shape.rank() == len(sizes):
            for dim, size in zip(out.shape, sizes, strict=True):
                name, known = getattr(dim, "value", None), _as_dim(size)
                if name is None or not name.startswith(GENERATED) or not is_named(size):
                    continue
                values.meanings.setdefault(name, size)
                if known is not None:
                    self.names.setdefault(name, known)


def _as_dim(size: Item) -> int | str | None:
    """Return what a shape can hold of ``size``: a number, or one axis' own name."""
    if isinstance(size, int):
        return size if size >= 0 else None
    plain = size.factor == 1 and len(size.symbols) == 1
    return size.symbols[0] if plain and is_named(size) else None


def _infer_node(node: ir.Node, version: int) -> bool:
    """Infer one node's outputs from its inputs; return whether that gave a shape."""
    inputs = [value for value in node.inputs if value is not None]
    if subgraphs_of(node) or any(v.shape is None or v.type is None for v in inputs):
        return False
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type):
        return False
    types = {value.name or "": serde.serialize_value(value).type for value in inputs}
    data = {
        value.name or "": serde.serialize_tensor(value.const_value)
        for value in inputs
        if value.const_value is not None and value.const_value.nbytes <= _READ_BYTES
    }
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
        found = onnx.shape_inference.infer_node_outputs(schema, node_proto(node), types, data)
    except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError, ValueError):
        return False
    taken = [_take(out, found.get(out.name or "")) for out in node.outputs]
    return any(taken)


def _take(value: ir.Value, found: onnx.TypeProto | None) -> bool:
    if found is None or not found.HasField("tensor_type") or value.shape is not None:
        return False
    tensor = found.tensor_type
    if value.type is None and tensor.elem_type:
        value.type = ir.TensorType(ir.DataType(tensor.elem_type))
    if not tensor.HasField("shape"):
        return False
    value.shape = ir.Shape(read_dim(dim) for dim in tensor.shape.dim)
    return True


def read_dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    """Return a size as a shape holds it."""
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return dim.dim_value
    return dim.dim_param or None


def _rename_dims(value: ir.Value, names: dict[str, int | str]) -> bool:
    if value.shape is None or value.shape.is_static():
        return False
    new = ir.Shape([_renamed(dim, names) for dim in value.shape])
    if list(new) == list(value.shape):
        return False
    value.shape = new
    return True


def _renamed(dim: int | ir.SymbolicDim, names: dict[str, int | str]) -> int | str | None:
    if isinstance(dim, int):
        return dim
    return names.get(dim.value or "", dim.value)
