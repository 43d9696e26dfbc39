"""Engine names -> backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bmopt.core.backend import Backend, Reference
from bmopt.core.target import Target

if TYPE_CHECKING:
    import onnx_ir as ir

    from bmopt.core.finding import Finding

Linter = Callable[["ir.Model", Target], "Sequence[Finding]"]
"""Returns what an engine would refuse in a model, or not run as its Q/DQ nodes ask."""


def backend_for(target: Target) -> Backend:
    """Return the backend of a target's engine; SDKs are imported when it is used."""
    from bmopt.backends.nvinfer.backend import NvinferBackend
    from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend

    if target.engine == "tvm":
        from bmopt.backends.tvm.backend import TvmBackend

        return TvmBackend()
    return OnnxRuntimeBackend() if target.engine == "ort" else NvinferBackend(target.engine)


def reference() -> Reference:
    """Return the engine on this host's CPU that checks and calibrates."""
    from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend

    return OnnxRuntimeBackend()


def linter_for(target: Target) -> Linter | None:
    """Return the linter of a target's engine, None where it has none."""
    if target.engine == "tvm":
        from bmopt.backends.tvm.lint import lint as lint_for_tvm

        return lint_for_tvm
    from bmopt.backends.nvinfer.lint import lint

    return lint if target.engine in ("trt", "rtx") or target.device == "tensorrt" else None


def pipeline_for(target: Target) -> str:
    """Return the passes that a model needs before a target's engine takes it, empty for none."""
    return "decompose" if target.engine == "tvm" else ""
