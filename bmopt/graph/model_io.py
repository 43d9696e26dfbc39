"""Read and write ``.onnx`` files.

A file is taken when ONNX Runtime could take it: unsorted nodes are sorted, missing and repeated
node names are fixed, sparse weights become dense, and a graph of IR version 3, which lists its
weights among its inputs, gets them as constants. Weights in external files stay memory-mapped.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]

from bmopt.core.dataset import InputSpec
from bmopt.core.files import atomic_file
from bmopt.errors import ModelError, UsageError
from bmopt.graph.defaults import freeze_defaults
from bmopt.graph.external_save import total_bytes, weights_in
from bmopt.graph.names import make_names_unique, stamp
from bmopt.graph.nesting import graphs_in
from bmopt.graph.proto_checks import structure_problems, unknown_ops
from bmopt.graph.runnable import require_sound
from bmopt.graph.weights import densify, map_external, require_no_nan, require_readable

MIN_OPSET = 7
"""The oldest standard operator set that is taken."""

SINGLE_FILE_BYTES = 2_000_000_000
"""Models with more weights than this are saved with the weights beside: protobuf ends at 2 GiB."""

_SOURCES = "bmopt.sources"

_MALFORMED = (
    ir.serde.SerdeError,
    AssertionError,
    AttributeError,
    KeyError,
    NotImplementedError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What building a graph from a damaged file ends in."""


def load_model(path: Path) -> ir.Model:
    """Return the model in the file ``path``, ready for passes: sorted, named, origins stamped.

    Raises:
        ModelError: The file is missing, damaged or no ONNX model, its weights are missing or
            hold NaN, its opset is below 7, or its graph is one that no runtime can run.
    """
    proto = _parse(path)
    try:
        _require_valid(proto)
        densify(proto.graph)
        model = _build(proto)
        files = map_external(model, path.parent)
        require_readable(model)
        _normalise(model)
        require_sound(model, path)
        require_no_nan(model)
    except ModelError as error:
        # In one line even where a name in the file has line breaks.
        raise ModelError(f"{path}: {' '.join(str(error).split())}") from error
    model.meta[_SOURCES] = (path.resolve(), *files)
    return model


def save_model(model: ir.Model, path: Path, *, single_file_bytes: int = SINGLE_FILE_BYTES) -> None:
    """Write ``model`` to ``path``, whole or not at all; equal models give equal bytes.

    Above ``single_file_bytes`` of weights, they go to ``<path>.data`` beside it.

    Raises:
        UsageError: ``path`` is the file that the model was loaded from.
        OutputError: ``path`` cannot be written, or the disk is full.
    """
    data = path.with_name(f"{path.name}.data")
    require_not_source(model, path)
    if total_bytes(model) <= single_file_bytes:
        with atomic_file(path) as scratch:
            scratch.write_bytes(_serialised(model))
        return
    require_not_source(model, data)
    with (
        atomic_file(data) as weights,
        atomic_file(path) as scratch,
        weights_in(model, weights, data.name),
    ):
        scratch.write_bytes(_serialised(model))


def require_not_source(model: ir.Model, path: Path) -> None:
    """Raise ``UsageError`` if ``path`` is a file that ``model`` was loaded from."""
    if path.resolve() in model.meta.get(_SOURCES, ()):
        raise UsageError(f"{path}: is the input, which is never written to; name another output")


def input_specs(model: ir.Model) -> tuple[InputSpec, ...]:
    """Return what has to be fed: the inputs without those that have a default value.

    Raises:
        ModelError: An input is no tensor, or has no element type.
    """
    return tuple(_spec(value) for value in model.graph.inputs if not value.is_initializer())


def _spec(value: ir.Value) -> InputSpec:
    if not isinstance(value.type, ir.TensorType):
        raise ModelError(f"input {value.name!r} is no tensor ({value.type}); only tensors are fed")
    if value.type.dtype == ir.DataType.UNDEFINED:
        raise ModelError(f"input {value.name!r} has no element type; export the model again")
    dtype = "str" if value.type.dtype == ir.DataType.STRING else str(value.type.dtype.numpy())
    shape = (
        None
        if value.shape is None
        else tuple(axis if isinstance(axis, int) else axis.value for axis in value.shape)
    )
    return InputSpec(str(value.name), dtype, shape)


def _serialised(model: ir.Model) -> bytes:
    try:
        data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise ModelError(f"the model cannot be written ({error})") from error
    return data


def _parse(path: Path) -> onnx.ModelProto:
    if path.is_dir():
        raise ModelError(f"{path}: is a folder; name an .onnx file")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{path}: is not an ONNX model, or it is damaged") from error
    if not proto.HasField("graph") or not proto.graph.ByteSize():
        raise ModelError(f"{path}: holds no graph; it is empty, damaged or not an ONNX model")
    return proto


def _require_valid(proto: onnx.ModelProto) -> None:
    if (problem := next(structure_problems(proto), None)) is not None:
        raise ModelError(f"invalid graph: {problem}")
    _require_opset(proto)
    if unknown := unknown_ops(proto):
        raise ModelError(
            f"unknown op {', '.join(unknown[:5])}: neither ONNX nor ONNX Runtime nor the model "
            "defines it"
        )


def _require_opset(proto: onnx.ModelProto) -> None:
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise ModelError("does not say which opset it uses (no opset_import); export it again")
    if versions[0] < MIN_OPSET:
        raise ModelError(
            f"opset {versions[0]} is too old, {MIN_OPSET} and up are supported; export it again"
        )


def _build(proto: onnx.ModelProto) -> ir.Model:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # onnx's, about fields that nobody reads
            model = ir.from_proto(proto)
        model.graph.sort()
    except _MALFORMED as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ModelError(f"invalid graph: {reason}") from error
    if "ai.onnx" in model.opset_imports:
        version = model.opset_imports.pop("ai.onnx")
        model.opset_imports.setdefault("", version)
    return model


def _normalise(model: ir.Model) -> None:
    """Make the weights of IR version 3 constant, names unique, and sizes below 0 unknown."""
    if model.ir_version < 4:
        freeze_defaults(model)
        model.ir_version = 4
    make_names_unique(model)
    stamp(model)
    for graph in graphs_in(model.graph):
        for value in (*graph.inputs, *graph.outputs, *(o for n in graph for o in n.outputs)):
            if value.shape is not None and any(_is_negative(axis) for axis in value.shape):
                axes = [None if _is_negative(axis) else axis for axis in value.shape]
                value.shape = ir.Shape(axes)


def _is_negative(axis: int | ir.SymbolicDim) -> bool:
    return isinstance(axis, int) and axis < 0
