"""How nodes run in a library that TVM compiled."""

from __future__ import annotations

from collections.abc import Sequence

from bmopt.backends.tvm.kernels import by_node, executed_dtype
from bmopt.core.backend import Executed
from bmopt.core.engine import Kernel
from bmopt.core.plan import QuantPlan

_NARROW = ("int8", "uint8")


def explain(plan: QuantPlan, kernels: Sequence[Kernel]) -> tuple[Executed, ...]:
    """Return how the nodes run that ``plan`` wants in integers; none where no build tells."""
    if not kernels:
        return ()
    homes = by_node(kernels)
    return tuple(_executed(name, homes.get(name)) for name in plan.integer)


def _executed(node: str, kernel: Kernel | None) -> Executed:
    if kernel is None:
        return Executed(node, "", integer=False)
    dtype = executed_dtype(kernel)
    return Executed(node, kernel.name, integer=dtype in _NARROW, dtype=dtype)
