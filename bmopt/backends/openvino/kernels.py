"""The kernels of a compiled model, how long they took, and whose work they do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from bmopt.graph.nesting import nodes_in

_ONNX_TYPES = {
    "bf16": "bfloat16",
    "boolean": "bool",
    "f16": "float16",
    "f32": "float",
    "f64": "double",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel and its time.

    Attributes:
        name: OpenVINO's name for it.
        op: Its op.
        kind: Its implementation and type, for example ``"brgconv_avx512_f32"``.
        dtype: As in ``LayerTime``.
        layers: Names of the layers that it stands for, as the file's reader called them.
        mean_ns: Its time in one inference.
    """

    name: str
    op: str
    kind: str
    dtype: str
    layers: tuple[str, ...]
    mean_ns: float


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the counters of all kernels showed, in microseconds, after some inferences."""

    inferences: int
    means_us: tuple[float, ...]


def read_counters(request: Any, inferences: int) -> Reading:  # noqa: ANN401
    """Return what a request's counters show after its first ``inferences``."""
    means = (entry.real_time.total_seconds() * 1e6 for entry in request.profiling_info)
    return Reading(inferences, tuple(means))


def kernels_of(compiled: Any, request: Any, before: Reading, after: Reading) -> list[Kernel]:  # noqa: ANN401
    """Return the kernels that took time between two readings, in the order they run."""
    runtime = compiled.get_runtime_model()
    facts = {str(op.friendly_name): op.rt_info for op in runtime.get_ops()}
    times = _between(before, after)
    return [
        _kernel(entry, facts.get(entry.node_name, {}), mean_us * 1e3)
        for entry, mean_us in zip(request.profiling_info, times, strict=True)
        if mean_us > 0 and entry.status == entry.Status.EXECUTED
    ]


def _between(before: Reading, after: Reading) -> list[float]:
    """Return the means over the inferences after ``before``; a counter's is over all."""
    count = after.inferences - before.inferences
    pairs = zip(before.means_us, after.means_us, strict=True)
    return [(late * after.inferences - early * before.inferences) / count for early, late in pairs]


def _kernel(entry: Any, facts: Mapping[str, Any], mean_ns: float) -> Kernel:  # noqa: ANN401
    layers = _text(facts, "originalLayersNames")
    precision = _text(facts, "runtimePrecision")
    return Kernel(
        name=entry.node_name,
        op=entry.node_type,
        kind=entry.exec_type,
        dtype=_ONNX_TYPES.get(precision, precision),
        layers=tuple(layers.split(",")) if layers else (),
        mean_ns=mean_ns,
    )


def _text(facts: Mapping[str, Any], key: str) -> str:
    return str(facts[key].astype(str)) if key in facts else ""


def node_names(model: ir.Model) -> dict[str, str]:
    """Return name of a node or of one of its outputs -> the node's name.

    OpenVINO calls a layer after the ONNX node, or after an output where that is one of the model's
    or the node has no name.
    """
    nodes = list(nodes_in(model.graph))
    outputs = {v.name: str(node.name) for node in nodes for v in node.outputs if v.name}
    return {**outputs, **{str(node.name): str(node.name) for node in nodes}}


def nodes_behind(layers: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ONNX nodes that layers came from; those OpenVINO made up come from none.

    Where it took a node apart, the name of a part is the node's and a suffix:
    ``conv/WithoutBiases``.
    """
    found = (_node_behind(layer, names) for layer in layers)
    return tuple(dict.fromkeys(name for name in found if name))


def _node_behind(layer: str, names: Mapping[str, str]) -> str:
    while layer not in names and "/" in layer:
        layer = layer.rpartition("/")[0]
    return names.get(layer, "")


def with_absorbed(model: ir.Model, claims: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Add to what each kernel stands for the nodes in front that no kernel names.

    OpenVINO calls a convolution that took over a batch normalisation after that alone. A node that
    no kernel names belongs to the kernel of its readers, where that is a single one.

    Args:
        model: The ONNX model.
        claims: The nodes that each kernel names.
    """
    owner = {name: index for index, names in enumerate(claims) for name in names}
    found = [list(names) for names in claims]
    for node in reversed(list(nodes_in(model.graph))):
        name = str(node.name)
        readers = {owner.get(str(reader.name)) for reader in node.successors()}
        if name in owner or len(readers) != 1:
            continue
        (index,) = readers
        if index is not None:
            owner[name] = index
            found[index].insert(0, name)
    return [tuple(names) for names in found]
