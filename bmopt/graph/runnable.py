"""Whether a graph follows the operators' schemas, by ``onnx.checker`` without its pedantry."""

from __future__ import annotations

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


def require_sound(model: ir.Model, path: Path) -> None:
    """Check nodes against their schemas.

    Where ``onnx.checker`` complains, ONNX Runtime has the last word: it is asked, in a child
    process, to open the file ``path``.

    Raises:
        ModelError: Both refuse it.
    """
    complaint = _complaint(model)
    if complaint is not None and not _opens(path):
        raise ModelError(f"invalid graph: {complaint}")


def _complaint(model: ir.Model) -> str | None:
    proto = stripped_proto(model)
    proto.graph.name = proto.graph.name or "graph"
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        return " ".join(str(error).split("==> Context")[0].split())
    return None


def _opens(path: Path) -> bool:
    import sys

    argv = [sys.executable, "-c", _OPEN, str(path)]
    try:
        run_isolated(argv, timeout_s=_TIMEOUT_S, name="ONNX Runtime")
    except IsolatedToolError:
        return False
    return True
