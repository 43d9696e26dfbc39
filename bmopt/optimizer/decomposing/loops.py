"""Loop and Scan with a known number of turns, one turn after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.graph.nesting import nodes_in
from bmopt.graph.origin import merge_origin
from bmopt.graph.values import constant_array, is_op
from bmopt.optimizer.decomposing.emitter import Emitter, input_at, is_used
from bmopt.optimizer.rewrite import fresh_name, root_graph
from bmopt.optimizer.sweeps import RefusedError

_SCAN_WITHOUT_BATCH = 9


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much may be written out.

    Attributes:
        turns: Turns of a loop.
        nodes: Nodes of all turns together.
    """

    turns: int
    nodes: int


@dataclasses.dataclass
class _Turns:
    """What the turns so far gave.

    Attributes:
        states: The carried values behind the last turn.
        stacks: For each further output, its value of every turn.
    """

    states: list[ir.Value]
    stacks: list[list[ir.Value]]


def unroll_loop(emit: Emitter, limits: Limits) -> bool:
    """Replace the emitter's Loop.

    Raises:
        RefusedError: The number of turns is not constant or is above the limits, or the loop may
            end before.
    """
    node = emit.node
    body = node.attributes["body"].as_graph()
    turns = _trip_count(node, body)
    _require_few(body, turns, limits)
    states: list[ir.Value | None] = list(node.inputs[2:])
    if any(one is None for one in states):
        raise RefusedError("lacks a carried value")
    carried = [one for one in states if one is not None]
    stacked = range(len(carried), len(node.outputs))
    if not turns and any(is_used(node, index) for index in stacked):
        raise RefusedError("gives what no turn computes")
    is_true = emit.constant(np.asarray(True), "goes_on")
    result = _Turns(carried, [[] for _ in stacked])
    for turn in range(turns):
        fed = [emit.constant(np.asarray(turn, np.int64), "turn"), is_true, *result.states]
        _take(result, _written(emit, body, fed)[1:])
    stacks = [emit.stack(one, 0) if one else None for one in result.stacks]
    return emit.finish([*result.states, *stacks])


def _trip_count(node: ir.Node, body: ir.Graph) -> int:
    count = constant_array(input_at(node, 0))
    if input_at(node, 0) is None:
        raise RefusedError("has no number of turns")
    if count is None:
        raise RefusedError("has a number of turns that is computed; fix sizes with --shapes")
    start = input_at(node, 1)
    before = None if start is None else constant_array(start)
    if start is not None and before is None:
        raise RefusedError("has a condition that is computed")
    if before is not None and not before.any():
        return 0
    goes_on = body.outputs[0]
    while (maker := goes_on.producer()) is not None and is_op(maker, "Identity"):
        source = maker.inputs[0]
        assert source is not None
        goes_on = source
    known = constant_array(goes_on)
    if goes_on is not body.inputs[1] and (known is None or not known.any()):
        raise RefusedError("may end after any turn")
    return max(0, int(count.reshape(-1)[0]))


def unroll_scan(emit: Emitter, limits: Limits) -> bool:
    """Replace the emitter's Scan.

    Raises:
        RefusedError: The number of turns is unknown or above the limits.
    """
    node = emit.node
    if emit.version < _SCAN_WITHOUT_BATCH:
        raise RefusedError("is a Scan of opset 8, which has a batch of its own")
    body = node.attributes["body"].as_graph()
    scanned = node.attributes.get_int("num_scan_inputs", 0)
    inputs = [one for one in node.inputs if one is not None]
    if len(inputs) != len(node.inputs):
        raise RefusedError("lacks an input")
    carried, sources = inputs[:-scanned], inputs[-scanned:]
    axes = _per(node, "scan_input_axes", scanned)
    backwards = _per(node, "scan_input_directions", scanned)
    turns = _length(sources, axes)
    _require_few(body, turns, limits)
    count = len(node.outputs) - len(carried)
    if not turns:
        raise RefusedError("has no turns")
    result = _Turns(carried, [[] for _ in range(count)])
    for turn in range(turns):
        places = [turns - 1 - turn if back else turn for back in backwards]
        parts = [emit.pick(*one) for one in zip(sources, axes, places, strict=True)]
        _take(result, _written(emit, body, [*result.states, *parts]))
    turned = _per(node, "scan_output_directions", count)
    out_axes = _per(node, "scan_output_axes", count)
    stacks = [
        emit.stack(values[::-1] if back else values, axis)
        for values, back, axis in zip(result.stacks, turned, out_axes, strict=True)
    ]
    return emit.finish([*result.states, *stacks])


def _per(node: ir.Node, name: str, count: int) -> list[int]:
    return list(node.attributes.get_ints(name, ())) or [0] * count


def _length(sources: Sequence[ir.Value], axes: Sequence[int]) -> int:
    for value, axis in zip(sources, axes, strict=True):
        size = None if value.shape is None else value.shape[axis]
        if isinstance(size, int):
            return size
    raise RefusedError("has an unknown number of turns; fix it with --shapes")


def _require_few(body: ir.Graph, turns: int, limits: Limits) -> None:
    if turns > limits.turns:
        raise RefusedError(f"has {turns} turns, more than {limits.turns} to write out")
    total = turns * sum(1 for _ in nodes_in(body))
    if total > limits.nodes:
        raise RefusedError(f"has {total} nodes in all turns, more than {limits.nodes}")


def _take(result: _Turns, outputs: Sequence[ir.Value]) -> None:
    count = len(result.states)
    result.states = list(outputs[:count])
    for stack, value in zip(result.stacks, outputs[count:], strict=False):
        stack.append(value)


def _written(emit: Emitter, body: ir.Graph, fed: Sequence[ir.Value]) -> list[ir.Value]:
    """Write the nodes of one turn, which read ``fed``, and return the outputs of the turn."""
    graph = root_graph(emit.node)
    copy = body.clone(allow_outer_scope_values=True)
    values: Mapping[ir.Value, ir.Value] = dict(zip(copy.inputs, fed, strict=True))
    outputs = [values.get(one, one) for one in copy.outputs]
    copy.outputs.clear()
    for name, value in list(copy.initializers.items()):
        del copy.initializers[name]
        value.name = fresh_name(graph, name)
        graph.register_initializer(value)
    for old, new in values.items():
        old.replace_all_uses_with(new)
    nodes = list(copy)
    copy.remove(nodes)
    for node in nodes:
        _rename(node, graph)
        merge_origin(node, [emit.node])
    graph.insert_before(emit.node, nodes)
    return outputs


def _rename(node: ir.Node, graph: ir.Graph) -> None:
    for one in (node, *(n for n in _inner_nodes(node))):
        one.name = fresh_name(graph, one.name or one.op_type)
        for out in one.outputs:
            if out.name:
                out.name = fresh_name(graph, out.name)


def _inner_nodes(node: ir.Node) -> Sequence[ir.Node]:
    graphs = [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    return [inner for graph in graphs for inner in nodes_in(graph)]


LOOPS: Mapping[str, Callable[[Emitter, Limits], bool]] = {
    "Loop": unroll_loop,
    "Scan": unroll_scan,
}
"""Op -> what writes it out."""
