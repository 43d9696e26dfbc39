"""What runs in the child process: onnxsim on one file. Started by path, imports nothing of ours.

``import onnxsim`` loads hundreds of modules and takes longer than most models do, so its native
part is loaded alone and given the few lines that it needs to run operators. Where that part
looks different in another version, the package's own ``simplify`` is called.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_NATIVE = "onnxsim.onnxsim_cpp2py_export"

_DATA_TYPES = {
    "f4": 1,
    "u1": 2,
    "i1": 3,
    "u2": 4,
    "i2": 5,
    "i4": 6,
    "i8": 7,
    "b1": 9,
    "f2": 10,
    "f8": 11,
    "u4": 12,
    "u8": 13,
}
"""NumPy's type code -> ONNX's TensorProto.DataType."""


_SKIPPED = ("fuse_attention", "fuse_gqa", "fuse_rope")
"""What puts operators of ONNX Runtime alone into a model, which no other engine reads."""


def main(source: str, output: str, max_folded_bytes: int) -> None:
    """Simplify the file ``source`` into the file ``output``."""
    os.environ["ONNXSIM_GEMM_FUSION_BACKEND"] = "ort_cpu"
    try:
        _simplify_natively(source, output, max_folded_bytes)
    except (ImportError, AttributeError, TypeError) as error:
        print(f"onnxsim's native part cannot be used alone ({error})", file=sys.stderr)
        _simplify_by_package(source, output, max_folded_bytes)


def _simplify_natively(source: str, output: str, max_folded_bytes: int) -> None:
    native = _load_native()
    options: tuple[Any, ...] = (
        _executor(native),
        source,
        output,
        list(_SKIPPED),
        True,  # fold constants
        True,  # infer shapes
        max_folded_bytes,
        None,  # keep the opset
        None,  # no rewriter of ours
        True,  # initialisers are constants
        False,  # leave local functions
        False,  # initialisers aren't inputs
        None,  # keep input shapes
        None,  # keep all outputs
        None,  # no more optimisers
    )
    try:
        native.simplify_path(*options)
    except TypeError:
        # onnxsim 0.7, the last for Python 3.10, does not know the last four.
        native.simplify_path(*options[:-4])


def _simplify_by_package(source: str, output: str, max_folded_bytes: int) -> None:
    import onnx
    import onnxsim

    model, _ = onnxsim.simplify(
        source, skipped_optimizers=list(_SKIPPED), tensor_size_threshold=f"{max_folded_bytes}B"
    )
    onnx.save(model, output)


def _load_native() -> ModuleType:
    package = importlib.util.find_spec("onnxsim")
    if package is None or not package.submodule_search_locations:
        raise ImportError("onnxsim is not installed")
    finder = importlib.machinery.FileFinder(
        package.submodule_search_locations[0],
        (
            importlib.machinery.ExtensionFileLoader,
            importlib.machinery.EXTENSION_SUFFIXES,
        ),
    )
    spec = finder.find_spec(_NATIVE)
    if spec is None or spec.loader is None:
        raise ImportError(f"{_NATIVE} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _executor(native: ModuleType) -> Any:  # noqa: ANN401 - a class made from the native one
    class Executor(native.ModelExecutor):  # type: ignore[misc, name-defined]
        def Run(self, model: bytes, inputs: Sequence[bytes]) -> list[bytes]:  # noqa: N802
            return _run(model, inputs)

    return Executor()


def _run(model: bytes, inputs: Sequence[bytes]) -> list[bytes]:
    """Run one group of constant operators; tensors come and go as serialised protos."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feeds = dict(zip(names, _arrays(inputs), strict=True)) if inputs else {}
    return [_tensor_proto(array) for array in session.run(None, feeds)]


def _arrays(tensors: Sequence[bytes]) -> list[Any]:
    from onnx import TensorProto, numpy_helper

    return [numpy_helper.to_array(TensorProto.FromString(data)) for data in tensors]


def _tensor_proto(array: Any) -> bytes:  # noqa: ANN401 - NumPy is not imported yet
    """Return ``array`` as a serialised TensorProto, without importing onnx for the usual types.

    Fields, after onnx.proto: dims = 1 (varints), data_type = 2 (varint), raw_data = 9 (bytes).
    """
    data_type = _DATA_TYPES.get(array.dtype.str.lstrip("<|"))
    if data_type is None or sys.byteorder != "little":
        from onnx import numpy_helper

        encoded: bytes = numpy_helper.from_array(array).SerializeToString()
        return encoded
    raw: bytes = array.tobytes()
    dims = b"".join(b"\x08" + _varint(size) for size in array.shape)
    return dims + b"\x10" + _varint(data_type) + b"\x4a" + _varint(len(raw)) + raw


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


if __name__ == "__main__":
    del sys.path[0]  # This file's folder, where names of ours could hide others'.
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
