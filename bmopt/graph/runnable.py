"""Whether a graph follows the operators' schemas, by ``onnx.checker`` without its pedantry."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import onnx_ir as ir

from bmopt.core.isolate import run_isolated
from bmopt.errors import IsolatedToolError, ModelError
from bmopt.graph.stripped import stripped_proto

_OPEN = (
    "import sys, onnxruntime as ort; o = ort.SessionOptions(); o.log_severity_level = 4; "
    "o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL; "
    "ort.InferenceSession(sys.argv[1], o, providers=['CPUExecutionProvider'])"
)
_TIMEOUT_S = 120.0


def schema_complaint(proto: onnx.ModelProto) -> str | None:
    """Return what ``onnx.checker`` has against ``proto``, in one line; None where nothing.

    A missing shape or graph name, which no runtime minds, does not count.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.name = copy.graph.name or "graph"
    for value in (*copy.graph.input, *copy.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(copy)
    except (onnx.checker.ValidationError, ValueError) as error:
        return " ".join(str(error).split("==> Context")[0].split())
    return None


def require_sound(model: ir.Model, path: Path) -> None:
    """Check nodes against their schemas.

    Where ``onnx.checker`` complains, ONNX Runtime has the last word: it is asked, in a child
    process, to open the file ``path``.

    Raises:
        ModelError: Both refuse it.
    """
    try:
        complaint = schema_complaint(stripped_proto(model))
    except ir.serde.SerdeError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ModelError(f"invalid graph: {reason}") from error
    if complaint is not None and not _opens(path):
        raise ModelError(f"invalid graph: {complaint}")


def _opens(path: Path) -> bool:
    argv = [sys.executable, "-c", _OPEN, str(path)]
    try:
        run_isolated(argv, timeout_s=_TIMEOUT_S, name="ONNX Runtime")
    except IsolatedToolError:
        return False
    return True
