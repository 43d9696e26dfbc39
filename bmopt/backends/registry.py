"""Engine names -> backends."""

from __future__ import annotations

from bmopt.core.backend import Backend
from bmopt.core.target import Target


def backend_for(target: Target) -> Backend:
    """Return the backend of a target's engine; SDKs are imported when it is used."""
    from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend

    return {"ort": OnnxRuntimeBackend()}[target.engine]
