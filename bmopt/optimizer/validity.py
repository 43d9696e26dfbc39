"""Whether a model is valid ONNX, and what breaks when a pass does."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from bmopt.errors import BmoptError
from bmopt.graph.stripped import stripped_proto

_BUILT_IN = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError, MemoryError, BufferError),
)
_ONNX = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)

BREAKAGES: tuple[type[Exception], ...] = (BmoptError, *_BUILT_IN, *_ONNX)
"""What a broken pass, or a model that one has broken, makes Python raise."""


def invalid_because(model: ir.Model) -> str | None:
    """Return the checker's complaint about ``model`` in one line, None where it has none.

    Big weights are left out, so that a model of any size can be checked. Inputs and outputs
    without a shape are accepted, as ONNX Runtime does.
    """
    try:
        proto = stripped_proto(model)
        for value in (*proto.graph.input, *proto.graph.output):
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.shape.SetInParent()
        onnx.checker.check_model(proto)
    except BREAKAGES as error:
        return one_line(error)
    return None


def one_line(error: BaseException) -> str:
    """Return an error's type and message in one line of bearable length."""
    message = " ".join(str(error).split("==> Context")[0].split())[:200].strip()
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
