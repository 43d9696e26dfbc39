"""Which constants of a model are trained, and how they come back into it."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.values import constant_tensor

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)

_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (1,),
    "MatMul": (0, 1),
    "Gather": (0,),
    "GRU": (1, 2),
    "LSTM": (1, 2),
}
_OTHERS: Mapping[str, tuple[int, ...]] = {
    "Conv": (2,),
    "ConvTranspose": (2,),
    "Gemm": (2,),
    "GRU": (3,),
    "LSTM": (3,),
    "BatchNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "PRelu": (1,),
    "Add": (0, 1),
    "Mul": (0, 1),
}
_RUNNING: Mapping[str, tuple[int, ...]] = {"BatchNormalization": (3, 4)}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A constant that training changes.

    Attributes:
        name: The initialiser's name.
        array: Its values, ``float32``.
        kind: ``"weight"`` of a product, ``"other"`` for biases and scales, ``"running"`` for
            statistics that follow those of the batches.
    """

    name: str
    array: Array
    kind: str


def parameters_of(model: ir.Model, freeze: Sequence[str] = ()) -> tuple[Parameter, ...]:
    """Return what of the main graph is trained, in graph order.

    Weights and biases of products and recurrent layers, scales and shifts of normalisations with
    their running statistics, embeddings, slopes, and whatever else of more than one element is
    added or multiplied. Single numbers, and what is done to the inputs, are part of the
    architecture.

    Args:
        model: Its weights are initialisers, not outputs of Constant nodes.
        freeze: Names or globs of constants to leave as they are.
    """
    found: dict[str, Parameter] = {}
    for node in model.graph:
        for index, kind in _roles(node):
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is None or not _is_trainable(value, kind, node):
                continue
            name = value.name or ""
            if name not in found and not any(fnmatch.fnmatchcase(name, p) for p in freeze):
                tensor = constant_tensor(value)
                assert tensor is not None
                found[name] = Parameter(name, tensor.numpy().astype(np.float32), kind)
    return tuple(found.values())


def untied(model: ir.Model) -> ir.Model:
    """Return a copy of ``model`` in which every layer has its own biases, scales and statistics.

    Initialisers that happened to be equal may have been merged. Weights of products that are
    shared stay so: that is how the model was made.
    """
    copy = model.clone()
    seen: set[str] = set()
    for node in copy.graph:
        for index, kind in _roles(node):
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is None or kind == "weight" or not _is_trainable(value, kind, node):
                continue
            name = value.name or ""
            if name in seen:
                node.replace_input_with(index, _duplicate(copy.graph, value))
            seen.add(name)
    return copy


def _duplicate(graph: ir.Graph, value: ir.Value) -> ir.Value:
    number = 1
    while (name := f"{value.name}_{number}") in graph.initializers:
        number += 1
    tensor = constant_tensor(value)
    assert tensor is not None
    array = ir.tensor(tensor.numpy(), name=name)
    new = ir.Value(name=name, type=value.type, shape=value.shape, const_value=array)
    graph.register_initializer(new)
    return new


def with_arrays(model: ir.Model, arrays: Mapping[str, Array]) -> ir.Model:
    """Return a copy of ``model`` whose initialisers of these names hold ``arrays``.

    Element types stay as they are, and so do the names of inputs and outputs.
    """
    copy = model.clone()
    for name, array in arrays.items():
        value = copy.graph.initializers[name]
        old = value.const_value
        assert old is not None
        value.const_value = ir.tensor(array.astype(old.dtype.numpy()), name=name)
    return copy


def _roles(node: ir.Node) -> Iterator[tuple[int, str]]:
    if node.domain not in ("", "ai.onnx"):
        return
    for kind, table in (("weight", _WEIGHTS), ("other", _OTHERS), ("running", _RUNNING)):
        for index in table.get(node.op_type, ()):
            yield index, kind


def _is_trainable(value: ir.Value, kind: str, node: ir.Node) -> bool:
    tensor = constant_tensor(value)
    if tensor is None or not value.is_initializer() or value.is_graph_output():
        return False
    if tensor.dtype not in _FLOATS or any(u.node.graph is not node.graph for u in value.uses()):
        return False
    if node.op_type not in ("Add", "Mul"):
        return True
    reads = [other for other in node.inputs if other is not value and other is not None]
    return tensor.size > 1 and not any(other.is_graph_input() for other in reads)
