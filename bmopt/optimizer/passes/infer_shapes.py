"""Types and shapes of intermediate values, by ONNX's inference and what Reshape reveals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import ClassVar

import onnx
import onnx_ir as ir

from bmopt.graph.nesting import nodes_in, subgraphs_of
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.shapes.inference_proto import (
    graph_infos,
    infer,
    open_part,
    subgraph_protos,
)
from bmopt.optimizer.shapes.propagation import propagate, read_dim

_SEEN = "bmopt.shapes"
"""Set in a model's ``meta`` once its declared shapes have been compared with its ops."""


@dataclasses.dataclass(frozen=True)
class InferShapes(Pass):
    """Write inferred types and shapes into the model.

    1. Sizes are added where they are missing. What is known stays, unless the declared shapes
       contradict the ops or hold negative sizes: then nothing that is declared of intermediate
       values is believed, except where inference has no shape at all.
    2. Behind a Reshape, Expand or ConstantOfShape to computed sizes, shapes are propagated with
       what is known of those sizes.
    3. Names that inference makes up are replaced by the axis they equal, where a Reshape shows
       it: the -1 in ``Reshape(float[N,3,4], [-1,12])`` is ``N``. So it is where an axis was
       multiplied and is divided again, and where tensors meet that have the same one.

    Declared inputs and outputs of the model are never changed, except that a negative size, as
    some exporters write it, becomes an unknown one. Sub-graphs are included.
    ``modified`` says that a type or shape changed.
    """

    name: ClassVar[str] = "infer-shapes"

    def call(self, model: ir.Model) -> Outcome:
        """Infer, merge, then propagate what only shape arithmetic tells."""
        if _drop_impossible_sizes(model):
            return dataclasses.replace(_infer_anew(model), modified=True)
        part = open_part(model, everything=_SEEN not in model.meta)
        model.meta[_SEEN] = True
        try:
            proto = infer(part, strict=True)
        except (onnx.shape_inference.InferenceError, ValueError) as error:
            if "existing shape differ" in str(error):
                return _infer_anew(model)
            try:
                proto = infer(part, strict=False)
            except (onnx.shape_inference.InferenceError, ValueError) as second:
                return Outcome(model, modified=False, refusals=(_gave_up(model, second),))
        modified = _merge_nodes(part.nodes, proto.graph)
        modified |= propagate(model)
        return Outcome(model, modified=modified)


def _gave_up(model: ir.Model, error: Exception) -> Refusal:
    reason = f"shape inference gave up: {str(error).splitlines()[0]}"
    return Refusal(model.graph.name or "graph", reason)


def _inner_values(model: ir.Model) -> list[ir.Value]:
    outputs = (out for node in nodes_in(model.graph) for out in node.outputs)
    return [out for out in outputs if not out.is_graph_output()]


def _drop_impossible_sizes(model: ir.Model) -> bool:
    """Forget negative sizes."""
    found = False
    for value in (*model.graph.inputs, *model.graph.outputs, *_inner_values(model)):
        if value.shape is not None and any(isinstance(d, int) and d < 0 for d in value.shape):
            dims = [None if isinstance(d, int) and d < 0 else d for d in value.shape]
            value.shape = ir.Shape(dims)
            found = True
    return found


def _infer_anew(model: ir.Model) -> Outcome:
    """Infer without the declared shapes; put back those that inference has nothing for."""
    before = [(value, value.shape) for value in _inner_values(model)]
    for value, _ in before:
        value.shape = None
    part = open_part(model, everything=True)
    refusals: tuple[Refusal, ...] = ()
    try:
        _merge_nodes(part.nodes, infer(part, strict=False).graph)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        refusals = (_gave_up(model, error),)
    for value, shape in before:
        if value.shape is None:
            value.shape = shape
    propagate(model)
    modified = any(value.shape != shape for value, shape in before)
    return Outcome(model, modified=modified, refusals=refusals)


def _merge_nodes(nodes: Sequence[ir.Node], proto: onnx.GraphProto) -> bool:
    infos = graph_infos(proto)
    modified = False
    for node, node_proto in zip(nodes, proto.node, strict=True):
        modified |= _merge_values(node.outputs, infos)
        for sub, sub_proto in zip(subgraphs_of(node), subgraph_protos(node_proto), strict=True):
            modified |= _merge_values(sub.inputs, graph_infos(sub_proto))
            modified |= _merge_nodes(list(sub), sub_proto)
    return modified


def _merge_values(values: Iterable[ir.Value], infos: dict[str, onnx.ValueInfoProto]) -> bool:
    modified = False
    for value in values:
        info = infos.get(value.name or "")
        if info is None:
            continue
        merge = _complete_output if value.is_graph_output() else _merge_value
        modified |= merge(value, info)
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
    inferred = [read_dim(dim) for dim in tensor.shape.dim]
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


def _better(old: int | ir.SymbolicDim, new: int | str | None) -> int | str | ir.SymbolicDim | None:
    if isinstance(old, int) or new is None:
        return old
    return new if isinstance(new, int) or old.value is None else old
