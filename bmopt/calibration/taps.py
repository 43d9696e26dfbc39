"""Make the activations of a model visible as graph outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

import onnx_ir as ir

from bmopt.errors import CalibrationError
from bmopt.graph.products import clip_after, clip_bounds

_OBSERVABLE = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, None})
_REARRANGING = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"})


@dataclasses.dataclass(frozen=True)
class Tapped:
    """A model that shows its activations.

    Attributes:
        model: A clone that shares the weights; every tapped node output is a graph output.
        inputs: Tapped graph inputs; their values are the feeds themselves.
        outputs: Tapped node outputs, in topological order.
        sources: Wanted tensor, in topological order -> tapped tensor with the same values: itself,
            or the one that it rearranges.
    """

    model: ir.Model
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sources: Mapping[str, str]


def tap(
    model: ir.Model, tensors: Collection[str] | None = None, exact: Collection[str] = ()
) -> Tapped:
    """Tap ``tensors``, or every activation that could be quantised.

    1. An activation is an input of the main graph, or a node output that depends on one and that
       a node reads or the graph returns; its type is a float type or not known. One that only a
       Relu reads, or a Clip to an interval around 0, is left out: what is stored is the clipped
       tensor, whose affine encoding clips by itself.
    2. Where a tensor only rearranges another's values (Reshape, Transpose, ...), the source is
       tapped instead, unless the tensor is in ``exact``.

    Raises:
        CalibrationError: A name in ``tensors`` or ``exact`` is none of those, or none is left.
    """
    clone = model.clone()
    activations = {value.name: value for value in _activations(clone.graph) if value.name}
    _require_known([*(tensors or ()), *exact], activations)
    wanted = [
        name
        for name, value in activations.items()
        if name in exact or (not _is_clipped(value) if tensors is None else name in tensors)
    ]
    if not wanted:
        raise CalibrationError("the model computes on no floats; compile it for an fp32 target")
    sources = {name: _source(activations, name, exact) for name in wanted}
    tapped = [activations[name] for name in dict.fromkeys(sources.values())]
    returned = set(clone.graph.outputs)
    inputs = set(clone.graph.inputs)
    clone.graph.outputs.extend(v for v in tapped if v not in returned and v not in inputs)
    return Tapped(
        model=clone,
        inputs=tuple(v.name or "" for v in tapped if v in inputs),
        outputs=tuple(v.name or "" for v in tapped if v not in inputs),
        sources=sources,
    )


def _require_known(names: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(names).difference(known))
    if unknown:
        raise CalibrationError(
            f"tensor {unknown[0]!r}: is no float activation of the model's main graph; "
            "check the names asked for"
        )


def _activations(graph: ir.Graph) -> Iterator[ir.Value]:
    initializers = set(graph.initializers.values())
    varying = {value for value in graph.inputs if value not in initializers}
    yield from (v for v in graph.inputs if v in varying and v.dtype in _OBSERVABLE)
    for node in graph:
        if not _varies(node, varying):
            continue
        varying.update(node.outputs)
        yield from (v for v in node.outputs if v.dtype in _OBSERVABLE and _is_used(v))


def _varies(node: ir.Node, varying: Collection[ir.Value]) -> bool:
    """Whether a node's outputs may differ between samples; sub-graphs may read anything."""
    has_graph = any(
        attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        for attribute in node.attributes.values()
    )
    return has_graph or any(value in varying for value in node.inputs)


def _is_clipped(value: ir.Value) -> bool:
    producer = value.producer()
    clip = None if producer is None or producer.outputs[0] is not value else clip_after(producer)
    bounds = None if clip is None else clip_bounds(clip)
    return bounds is not None and bounds[0] <= 0.0 <= bounds[1]


def _is_used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _source(activations: Mapping[str, ir.Value], name: str, exact: Collection[str]) -> str:
    """Follow rearranging nodes upwards to the tensor whose values ``name`` holds."""
    while name not in exact:
        node = activations[name].producer()
        if node is None or node.domain not in ("", "ai.onnx") or node.op_type not in _REARRANGING:
            return name
        above = node.inputs[0]
        if above is None or above.name is None or above.name not in activations:
            return name
        name = above.name
    return name
