"""The tensors of a model: initialisers and attribute tensors, wherever their bytes lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.errors import ModelError
from bmopt.graph.nesting import graphs_in

_CHUNK_ELEMENTS = 1 << 22
_MAX_DENSE_BYTES = 1 << 31
_UNREADABLE = (
    AssertionError,
    KeyError,
    NotImplementedError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What decoding a damaged tensor ends in."""

_FLOATS = (
    ir.DataType.FLOAT,
    ir.DataType.DOUBLE,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
)


def initializers(model: ir.Model) -> Iterator[tuple[str, ir.TensorProtocol]]:
    """Yield name and tensor of every initialiser, through sub-graphs."""
    for graph in graphs_in(model.graph):
        for name, value in graph.initializers.items():
            if value.const_value is not None:
                yield name, value.const_value


def map_external(model: ir.Model, folder: Path) -> tuple[Path, ...]:
    """Replace external tensors by views of one memory map a file, so descriptors don't run out.

    Returns:
        The external files in use.

    Raises:
        ModelError: A file is missing, too short, or lies outside ``folder``.
    """
    maps: dict[str, Array] = {}

    def mapped(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if not isinstance(tensor, ir.ExternalTensor):
            return tensor
        location = str(tensor.location)
        if location not in maps:
            maps[location] = _map_file(folder, location, str(tensor.name))
        return _view(tensor, maps[location])

    replace_tensors(model, mapped)
    return tuple((folder / location).resolve() for location in maps)


def replace_tensors(
    model: ir.Model, change: Callable[[ir.TensorProtocol], ir.TensorProtocol]
) -> None:
    """Put ``change(tensor)`` in the place of every initialiser and attribute tensor."""
    for graph in (*graphs_in(model.graph), *model.functions.values()):
        values = graph.initializers.values() if isinstance(graph, ir.Graph) else ()
        for value in values:
            if value.const_value is not None:
                value.const_value = change(value.const_value)
        for node in graph:
            for attribute in list(node.attributes.values()):
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    old: ir.TensorProtocol = attribute.value  # as_tensor() checks a protocol
                    if (new := change(old)) is not old:
                        node.attributes.add(ir.AttrTensor(attribute.name, new))


def densify(graph: onnx.GraphProto) -> None:
    """Turn sparse initialisers into ordinary ones, in place.

    Raises:
        ModelError: Indices that do not fit the shape, or more than 2 GB when dense.
    """
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse))
    del graph.sparse_initializer[:]


def require_readable(model: ir.Model) -> None:
    """Check that every tensor has the bytes its shape needs.

    Raises:
        ModelError: One has not; the message names it.
    """

    def check(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if min(tensor.shape.numpy(), default=0) < 0:
            raise ModelError(f"tensor {tensor.name!r} has an impossible shape {tensor.shape}")
        try:
            tensor.numpy()
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"tensor {tensor.name!r} cannot be read ({reason})") from error
        return tensor

    replace_tensors(model, check)


def require_no_nan(model: ir.Model) -> None:
    """Check every float initialiser for NaN, in chunks; infinities are legitimate.

    Raises:
        ModelError: One holds NaN; the message names it.
    """
    for name, tensor in initializers(model):
        if tensor.dtype in _FLOATS and _has_nan(tensor.numpy()):
            raise ModelError(f"initializer {name!r} holds NaN; export the model again")


def _has_nan(array: Array) -> bool:
    flat = array.reshape(-1)
    chunks = (flat[i : i + _CHUNK_ELEMENTS] for i in range(0, flat.size, _CHUNK_ELEMENTS))
    return any(bool(np.isnan(chunk).any()) for chunk in chunks)


def _map_file(folder: Path, location: str, name: str) -> Array:
    inside = PurePosixPath(location.replace("\\", "/"))
    if not location or inside.is_absolute() or ".." in inside.parts:
        raise ModelError(
            f"the weights {name!r} lie in {location!r}, outside the model's folder; "
            "put the file beside the model"
        )
    path = folder / location
    if not path.is_file():
        raise ModelError(
            f"the weights {name!r} lie in {location!r}, which is missing; put it beside the model"
        )
    try:
        if path.stat().st_size == 0:
            return np.zeros(0, np.uint8)
        return np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise ModelError(f"{location!r} cannot be read ({error.strerror})") from error


def _view(tensor: ir.ExternalTensor, data: Array) -> ir.TensorProtocol:
    shape = tensor.shape.numpy()
    if tensor.dtype in (ir.DataType.UNDEFINED, ir.DataType.STRING):
        raise ModelError(f"the weights {tensor.name!r} have no type that fits in a file")
    offset, length = tensor.offset or 0, tensor.nbytes
    if min(shape, default=0) < 0 or offset < 0 or offset + length > data.size:
        raise ModelError(
            f"the weights {tensor.name!r} need bytes {offset} to {offset + length} of "
            f"{str(tensor.location)!r}, which has {data.size}; it is truncated or another file"
        )
    raw = np.asarray(data[offset : offset + length])
    if tensor.dtype.bitwidth < 8:
        return ir.PackedTensor(raw, tensor.dtype, shape=tensor.shape, name=tensor.name)
    array = raw.view(tensor.dtype.numpy()).reshape(shape)
    return ir.Tensor(array, tensor.dtype, name=tensor.name)


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    name, dims = sparse.values.name, list(sparse.dims)
    try:
        values = onnx.numpy_helper.to_array(sparse.values).reshape(-1)
        indices = onnx.numpy_helper.to_array(sparse.indices)
        if min(dims, default=0) < 0 or math.prod(dims) * values.itemsize > _MAX_DENSE_BYTES:
            raise ModelError(f"sparse initializer {name!r} has an impossible shape {dims}")
        dense = np.zeros(dims, values.dtype)
        where = np.unravel_index(indices, dims) if indices.ndim == 1 else tuple(indices.T)
        dense[where] = values
    except (*_UNREADABLE, IndexError) as error:
        raise ModelError(f"sparse initializer {name!r} cannot be read ({error})") from error
    return onnx.numpy_helper.from_array(dense, name)
