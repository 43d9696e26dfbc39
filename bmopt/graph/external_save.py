"""Write a model whose weights are too big for one protobuf file: weights beside, in one file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir

from bmopt.graph.nesting import graphs_in

INLINE_BYTES = 1024
"""Weights up to this size stay in the graph's file."""

_CHUNK_BYTES = 1 << 24


def total_bytes(model: ir.Model) -> int:
    """Return the size of all initialisers, through sub-graphs."""
    return sum(tensor.nbytes for _, tensor in _big(model, 0))


@contextlib.contextmanager
def weights_in(model: ir.Model, data: Path, location: str) -> Iterator[None]:
    """Write the bigger weights to the file ``data``; within the block the model refers to them.

    ``location`` is the file's name as the saved model will know it.
    """
    held = _big(model, INLINE_BYTES)
    try:
        with data.open("wb") as stream:
            for value, tensor in held:
                offset = stream.tell()
                raw = _bytes_of(tensor)
                for start in range(0, raw.size, _CHUNK_BYTES):
                    stream.write(raw[start : start + _CHUNK_BYTES].data)
                value.const_value = ir.ExternalTensor(
                    location,
                    offset,
                    int(raw.size),
                    tensor.dtype,
                    shape=ir.Shape(tensor.shape.numpy()),
                    name=str(value.name),
                )
        yield
    finally:
        for value, tensor in held:
            value.const_value = tensor


def _big(model: ir.Model, above: int) -> list[tuple[ir.Value, ir.TensorProtocol]]:
    return [
        (value, value.const_value)
        for graph in graphs_in(model.graph)
        for value in graph.initializers.values()
        if value.const_value is not None
        and value.const_value.dtype != ir.DataType.STRING
        and value.const_value.nbytes > above
    ]


def _bytes_of(tensor: ir.TensorProtocol) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if tensor.dtype.bitwidth < 8:
        return np.frombuffer(tensor.tobytes(), np.uint8)
    return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8)
