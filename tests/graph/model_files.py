"""Small model files, written from ONNX text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper

from bmopt.core.runner import Array

HEADER = '<ir_version: {ir}, opset_import: ["" : {opset}]>\n'


def proto_of(
    text: str, weights: dict[str, Array] | None = None, *, opset: int = 17, ir: int = 8
) -> onnx.ModelProto:
    """Parse a graph's (or a whole model's) text and add ``weights`` as initialisers."""
    full = text if text.lstrip().startswith("<") else HEADER.format(ir=ir, opset=opset) + text
    proto = onnx.parser.parse_model(full)
    for name, array in (weights or {}).items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return proto


def write(path: Path, proto: onnx.ModelProto) -> Path:
    """Write ``proto`` as it is, valid or not."""
    path.write_bytes(proto.SerializeToString())
    return path


def put_outside(proto: onnx.ModelProto, folder: Path, location: str = "w.bin") -> None:
    """Move the initialisers of ``proto`` to the file ``location`` in ``folder``."""
    data = b""
    for tensor in proto.graph.initializer:
        raw = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", len(data)), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        data += raw
    (folder / location).write_bytes(data)
