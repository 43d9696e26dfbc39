"""Types and shapes of every value of a model once its dynamic axes have sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import onnx
import onnx_ir as ir

from bmopt.errors import ModelError, UsageError
from bmopt.graph.macs import Shape
from bmopt.graph.small_values import fold_small
from bmopt.graph.stripped import stripped_proto

_MAX_ROUNDS = 8

DEFAULT_SIZE = 1
"""What a dynamic axis is taken to be where nothing else is said."""


@dataclasses.dataclass(frozen=True)
class KnownValue:
    """Element type of a tensor, and its shape where every axis is a known number."""

    dtype: ir.DataType
    shape: Shape | None


def axis_sizes(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return the sizes that the inputs' symbols take when inputs have ``shapes``.

    Raises:
        UsageError: An input does not exist, or its declared shape does not fit.
    """
    inputs = {str(value.name): value for value in model.graph.inputs}
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise UsageError(f"no input {name!r}; the inputs are {', '.join(inputs)}")
        declared = inputs[name].shape
        if declared is None:
            continue
        axes = list(zip(declared, shape, strict=False))
        if len(declared) != len(shape) or any(
            isinstance(axis, int) and axis != size for axis, size in axes
        ):
            raise UsageError(f"input {name!r} has shape {declared}, not {list(shape)}")
        sizes |= {a.value: s for a, s in axes if not isinstance(a, int) and a.value}
    return sizes


def concrete_values(
    model: ir.Model, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, KnownValue]:
    """Return value name -> type and shape, as they follow from the shapes of the inputs.

    Args:
        model: The model; it is not changed.
        shapes: Input name -> shape. Axes that stay dynamic get ``DEFAULT_SIZE``.

    Raises:
        UsageError: ``shapes`` does not fit the model.
        ModelError: ONNX's shape inference fails on the model.
    """
    given = dict(shapes or {})
    sizes = axis_sizes(model, given)
    proto = stripped_proto(model)
    for value in proto.graph.input:
        _fix(value, given.get(value.name), sizes)
    _forget(proto.graph)
    known = _infer(proto)
    for _ in range(_MAX_ROUNDS):
        settled = {name: value.shape for name, value in known.items() if value.shape is not None}
        if not fold_small(proto, settled):
            break
        known |= _infer(proto)
    return known


def _infer(proto: onnx.ModelProto) -> dict[str, KnownValue]:
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"shapes cannot be inferred: {reason}") from error
    return dict(_known_values(inferred.graph))


def _fix(value: onnx.ValueInfoProto, shape: Sequence[int] | None, sizes: dict[str, int]) -> None:
    """Give the axes of ``value`` numbers; its shape is ``shape`` where that is given."""
    if not value.type.HasField("tensor_type"):
        return
    tensor = value.type.tensor_type
    if shape is not None:
        tensor.shape.Clear()
        tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=s) for s in shape)
    for dim in tensor.shape.dim:
        if not dim.HasField("dim_value"):
            dim.dim_value = sizes.get(dim.dim_param, DEFAULT_SIZE)


def _forget(graph: onnx.GraphProto) -> None:
    """Drop recorded shapes: they hold for the dynamic model, or for another size."""
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    for inner in _inner_graphs(graph):
        _forget(inner)


def _inner_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _known_values(graph: onnx.GraphProto) -> Iterator[tuple[str, KnownValue]]:
    for weight in graph.initializer:
        yield weight.name, KnownValue(ir.DataType(weight.data_type), tuple(weight.dims))
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type:
            yield value.name, KnownValue(ir.DataType(tensor.elem_type), _shape(tensor))
    for inner in _inner_graphs(graph):
        yield from _known_values(inner)


def _shape(tensor: onnx.TypeProto.Tensor) -> Shape | None:
    dims = tensor.shape.dim
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)
