"""The functions of a compiled library: what each computes on, and which nodes it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.fusion_trace import FusionTrace, called_function
from bmopt.backends.tvm.importing import Native
from bmopt.backends.tvm.names import MAIN
from bmopt.core.engine import Kernel

_SCHEDULES = ("bmopt.schedule", "bmopt.kernel")
"""Attributes of a function that say how it was scheduled, the first that is there counts."""

_DEFAULT_SCHEDULE = "default"
_TUNED, _OWN = "bmopt.tuned", "bmopt.kernel"
"""Attributes of functions whose schedule was measured, and of kernels of bmopt's."""
_NARROW = frozenset({"int8", "uint8"})
_CONVERSIONS = ("quantize", "dequantize")
_NAMES = {"float32": "float", "float64": "double"}
"""NumPy's name of an element type -> ONNX's, where they differ."""


def kernels_of(module: Native, trace: FusionTrace, graph: onnx.GraphProto) -> tuple[Kernel, ...]:
    """Return the functions that ``main`` of a lowered module calls, in order."""
    calls = list(_calls(module))
    if [name for _, name, _ in calls] == [name for name, _ in trace.calls]:
        traced = [nodes for _, nodes in trace.calls]
    else:
        traced = [trace.of(str(variable.name)) for variable, *_ in calls]
    nodes = [sorted(index for index in one if index < len(graph.node)) for one in traced]
    shared = _with_the_rest(nodes, graph)
    _name_steps(calls, shared)
    return tuple(
        _kernel(module, name, call, members, graph)
        for (_, name, call), members in zip(calls, shared, strict=True)
    )


def _calls(module: Native) -> Iterator[tuple[Native, str, Native]]:
    """Yield (variable, name of the function, call) for every call of a function of ours."""
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            if called := called_function(binding.value):
                yield binding.var, called, binding.value


def _name_steps(calls: Sequence[tuple[Native, str, Native]], nodes: list[list[int]]) -> None:
    """Give functions that are steps on the way to a node's output, or from it, that node."""
    places = range(len(calls))
    for place in reversed(places):
        readers = (later for later in places[place + 1 :] if _reads(calls[later], calls[place]))
        nodes[place] = nodes[place] or next((list(nodes[one]) for one in readers), [])
    for place in places:
        makers = (one for one in reversed(places[:place]) if _reads(calls[place], calls[one]))
        nodes[place] = nodes[place] or next((list(nodes[one]) for one in makers), [])


def _reads(call: tuple[Native, str, Native], other: tuple[Native, str, Native]) -> bool:
    return any(other[0].same_as(one) for one in _arguments(call[2]))


def _arguments(call: Native) -> list[Native]:
    """Return what a call hands to the function, whichever of the two forms it has."""
    if len(call.args) > 1 and isinstance(call.args[1], probe.load("tvm.relax").Tuple):
        return list(call.args[1].fields)
    return list(call.args)


def _kernel(
    module: Native, name: str, call: Native, members: Sequence[int], graph: onnx.GraphProto
) -> Kernel:
    constant = probe.load("tvm.ir").GenericConst
    arguments = _arguments(call)
    fed = [a for a in arguments if not isinstance(a, constant)]
    fixed = [a for a in arguments if isinstance(a, constant)]
    attributes = module[name].attrs
    told = [attributes.get(key) for key in _SCHEDULES] if attributes else []
    return Kernel(
        name=name,
        kind=name.removeprefix("fused_"),
        inputs=_dtypes(fed),
        constants=_dtypes(fixed),
        outputs=_dtypes([call]),
        nodes=tuple(graph.node[i].name or graph.node[i].output[0] for i in members),
        tactic=next((str(one) for one in told if one is not None), _DEFAULT_SCHEDULE),
        schedule=_origin(attributes),
    )


def _origin(attributes: Native) -> str:
    """Return where a function's schedule comes from."""
    if attributes and _TUNED in attributes:
        return "tuned"
    return "default" if attributes and _OWN in attributes else "fallback"


def _dtypes(values: Sequence[Native]) -> tuple[str, ...]:
    found: list[str] = []
    for value in values:
        kind = value.ty
        for one in kind.fields if hasattr(kind, "fields") else [kind]:
            dtype = str(getattr(one, "dtype", "") or "")
            if dtype:
                found.append(_NAMES.get(dtype, dtype))
    return tuple(found)


def _with_the_rest(known: Sequence[Sequence[int]], graph: onnx.GraphProto) -> list[list[int]]:
    """Return the nodes of every function, those that no pass told of with who reads them.

    What is computed from constants alone is gone by then, and what is only read as another shape
    is no function: both belong to what reads them, or to what makes their input.
    """
    home = {node: place for place, members in enumerate(known) for node in members}
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output}
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(graph.node):
        for name in node.input:
            if name in makers:
                readers.setdefault(makers[name], []).append(index)
    order = range(len(graph.node))
    for index in reversed(order):
        _settle(index, readers.get(index, ()), home)
    for index in order:
        sources = [makers[name] for name in graph.node[index].input if name in makers]
        _settle(index, sources, home)
    found: list[list[int]] = [[] for _ in known]
    for index in sorted(home):
        found[home[index]].append(index)
    return found


def _settle(index: int, neighbours: Sequence[int], home: dict[int, int]) -> None:
    place = next((home[one] for one in neighbours if one in home), None)
    if index not in home and place is not None:
        home[index] = place


def executed_dtype(kernel: Kernel) -> str:
    """Return the element type that a function computes on.

    A product of integers may write float, and so may what only moves them; whatever else has a
    float in it computes on that. Scales of a requantisation are constants, so they do not make it
    a float function.
    """
    has_weights = _is_product(kernel) and bool(_NARROW.intersection(kernel.constants))
    if _NARROW.issuperset(kernel.inputs) and (has_weights or not kernel.constants):
        return next(iter(kernel.inputs), "")
    types = [dtype for dtype in (*kernel.inputs, *kernel.outputs) if dtype]
    floats = [dtype for dtype in types if "float" in dtype or dtype == "double"]
    return (floats or types or [""])[0]


def by_node(kernels: Sequence[Kernel]) -> Mapping[str, Kernel]:
    """Return node -> the function that computes it, rather than one that moves its input."""
    homes: dict[str, Kernel] = {}
    for kernel in kernels:
        for node in kernel.nodes:
            if node not in homes or (_is_product(kernel) and not _is_product(homes[node])):
                homes[node] = kernel
    return homes


def _is_product(kernel: Kernel) -> bool:
    """Whether a function has weights, rather than the constants of a conversion."""
    return bool(kernel.constants) and not kernel.kind.startswith(_CONVERSIONS)
