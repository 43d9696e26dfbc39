"""What runs the nodes that a plan for the TensorRT provider wants in integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bmopt.backends.onnxruntime.assignment import Assignment, assignment
from bmopt.backends.onnxruntime.libraries import lacks
from bmopt.core.backend import Executed
from bmopt.core.engine import BuildOptions, Kernel
from bmopt.core.plan import QuantPlan
from bmopt.core.target import Target

_INTEGERS = ("int8", "uint8")
_TARGET = Target("ort", "int8", "tensorrt")


def explain_tensorrt(
    graph: Path, plan: QuantPlan, kernels: Sequence[Kernel], *, build: BuildOptions | None = None
) -> tuple[Executed, ...]:
    """Return how every node runs that ``plan`` wants in integers.

    Kernels of an engine say so themselves. Without them ONNX Runtime tells which provider took a
    node, not what TensorRT made of it: a node counts as integer where TensorRT took it, since its
    network is strongly typed and the plan puts Q/DQ nodes where TensorRT has integer kernels. The
    other providers compute Q/DQ nodes in float. On a host that cannot run it, nothing is known.

    Raises:
        ModelError: ONNX Runtime refuses the graph.
    """
    if kernels:
        return tuple(_by_kernel(name, _by_node(kernels)) for name in plan.integer)
    if lacks("tensorrt"):
        return tuple(Executed(name, "", integer=False) for name in plan.integer)
    found = assignment(graph, _TARGET, build=build)
    return tuple(_by_provider(name, found) for name in plan.integer)


def _by_node(kernels: Sequence[Kernel]) -> Mapping[str, Kernel]:
    """Return node -> its kernel; one on integers where several have parts of the node."""
    found: dict[str, Kernel] = {}
    for kernel in sorted(kernels, key=_is_integer):
        found |= dict.fromkeys(kernel.nodes, kernel)
    return found


def _by_kernel(node: str, kernels: Mapping[str, Kernel]) -> Executed:
    kernel = kernels.get(node)
    if kernel is None:
        return Executed(node, "", integer=False)
    dtype = kernel.inputs[0] if kernel.inputs else ""
    return Executed(node, kernel.name, _is_integer(kernel), dtype)


def _is_integer(kernel: Kernel) -> bool:
    return any(dtype in _INTEGERS for dtype in kernel.inputs)


def _by_provider(node: str, found: Assignment) -> Executed:
    provider = found.provider_of(node)
    return Executed(node, provider, integer=provider == found.wanted)
