"""Names for TVM's values, which have no types of their own that a checker could follow."""

from __future__ import annotations

from typing import Any

Expr = Any
Buffer = Any
PrimFunc = Any
Native = Any
