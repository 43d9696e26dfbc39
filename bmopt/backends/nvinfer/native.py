"""The type of what comes from SDKs without stubs."""

from __future__ import annotations

from typing import Any, TypeAlias

Native: TypeAlias = Any
"""A module, an object or an enum of TensorRT, TensorRT-RTX or ``cuda.bindings``."""
