"""LSTM, GRU and RNN, one step after the other.

Equations, order of the gates and meaning of the inputs as in ONNX's operators LSTM (Hochreiter
and Schmidhuber, 1997, with the peepholes of Gers and Schmidhuber, 2000), GRU (Cho et al., 2014)
and RNN. The products of the inputs of all steps with the weights are one product where the sizes
are known: it does not depend on the steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import onnx_ir as ir

from bmopt.graph.values import constant_array
from bmopt.optimizer.decomposing.emitter import (
    Emitter,
    input_at,
    is_used,
    known,
    need,
    refuse_attributes,
)
from bmopt.optimizer.sweeps import RefusedError

_FUNCTIONS: dict[str, tuple[str, ...]] = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
"""Op -> its activation functions, where it names none."""

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_PLAIN_FUNCTIONS = ("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")
_BOTH = "bidirectional"

State = tuple["ir.Value | None", ...]


@dataclasses.dataclass(frozen=True)
class Weights:
    """One direction of a recurrent op, its gates side by side.

    Attributes:
        size: Hidden size, H.
        source: Of the inputs, I times gates * H.
        state: Of the state, H times gates * H.
        bias: Of the inputs, gates * H; None for none.
        state_bias: Of the state, as long.
        peepholes: Three vectors of H for i, o, f; None for none.
        functions: Activation functions.
    """

    size: int
    source: ir.Value
    state: ir.Value
    bias: ir.Value | None
    state_bias: ir.Value | None
    peepholes: tuple[ir.Value, ...] | None
    functions: tuple[str, ...]


def unroll_recurrent(emit: Emitter, most_steps: int) -> bool:
    """Replace the emitter's LSTM, GRU or RNN.

    Raises:
        RefusedError: The number of steps is unknown or above ``most_steps`` in all directions,
            lengths differ within a batch, or the cell has a clip or an odd activation function.
    """
    node = emit.node
    direction = node.attributes.get_string("direction", "forward")
    count = 2 if direction == _BOTH else 1
    layout = node.attributes.get_int("layout", 0)
    steps = _steps(node, layout, most_steps // count)
    _refuse_odd(node, steps, count)
    batch = _batch(node, layout)
    cells = [_weights(emit, index, count) for index in range(count)]
    source = need(node, 0)
    source = emit.transpose(source, (1, 0, 2)) if layout else source
    runs = []
    for index, weights in enumerate(cells):
        backwards = direction == "reverse" or index == 1
        start = _start(emit, index, layout)
        products = _products(emit, source, weights, steps, batch)
        runs.append(_run(emit, products, weights, start, backwards))
    return emit.finish(_outputs(emit, runs, layout))


def _steps(node: ir.Node, layout: int, most: int) -> int:
    shape = need(node, 0).shape
    steps = shape[1 if layout else 0] if shape is not None and len(shape) == 3 else None
    if not isinstance(steps, int):
        raise RefusedError("has an unknown number of steps; fix it with --shapes")
    if steps > most:
        raise RefusedError(f"has {steps} steps, more than {most} to write out")
    return steps


def _batch(node: ir.Node, layout: int) -> int | None:
    shape = need(node, 0).shape
    size = None if shape is None else shape[0 if layout else 1]
    return size if isinstance(size, int) else None


def _refuse_odd(node: ir.Node, steps: int, count: int) -> None:
    refuse_attributes(node, input_forget=0)
    if "clip" in node.attributes:
        raise RefusedError("clips its cells")
    lengths = known(node, 4)
    if lengths is not None and (lengths != steps).any():
        raise RefusedError("has sequences of several lengths in a batch")
    if "activation_alpha" in node.attributes or "activation_beta" in node.attributes:
        raise RefusedError("has activation functions with parameters")
    for index in range(count):
        _functions(node, index)
    _hidden_size(node)


def _functions(node: ir.Node, index: int) -> tuple[str, ...]:
    default = _FUNCTIONS[node.op_type]
    named = node.attributes.get_strings("activations", ())
    own = tuple(named[index * len(default) : (index + 1) * len(default)]) or default
    names = tuple(name.capitalize() for name in own)
    for name in names:
        if name not in _PLAIN_FUNCTIONS:
            raise RefusedError(f"has the activation function {name}")
    return names


def _weights(emit: Emitter, index: int, count: int) -> Weights:
    node = emit.node
    gates = _GATES[node.op_type]
    state = need(node, 2)
    size, functions = _hidden_size(node), _functions(node, index)
    own = [emit.pick(one, 0, index) for one in (need(node, 1), state)]
    bias, half = input_at(node, 3), gates * size
    both = None if bias is None else emit.pick(bias, 0, index)
    peephole = input_at(node, 7) if node.op_type == "LSTM" else None
    row = None if peephole is None else emit.pick(peephole, 0, index)
    return Weights(
        size,
        emit.transpose(own[0], (1, 0)),
        emit.transpose(own[1], (1, 0)),
        None if both is None else emit.slice(both, 0, 0, half),
        None if both is None else emit.slice(both, 0, half, 2 * half),
        None if row is None else _parts(emit, row, size, 3, axis=0),
        functions,
    )


def _hidden_size(node: ir.Node) -> int:
    shape = need(node, 2).shape
    size = node.attributes.get_int("hidden_size", 0) or (None if shape is None else shape[-1])
    if not isinstance(size, int):
        raise RefusedError("has an unknown hidden size")
    return size


def _parts(
    emit: Emitter, value: ir.Value, size: int, count: int, axis: int
) -> tuple[ir.Value, ...]:
    return tuple(emit.slice(value, axis, i * size, (i + 1) * size) for i in range(count))


def _start(emit: Emitter, index: int, layout: int) -> State:
    """Return the states before the first step, None for zeros."""
    places = (5, 6) if emit.node.op_type == "LSTM" else (5,)
    found: list[ir.Value | None] = []
    for place in places:
        value = input_at(emit.node, place)
        array = constant_array(value)
        is_zero = value is None or (array is not None and not array.any())
        found.append(None if is_zero or value is None else emit.pick(value, layout, index))
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class _Run:
    """What a direction gave: the hidden state after each step in order, and the last states."""

    hidden: tuple[ir.Value, ...]
    last: tuple[ir.Value, ...]


def _run(
    emit: Emitter, products: Sequence[ir.Value], weights: Weights, start: State, backwards: bool
) -> _Run:
    order = range(len(products))
    cell = _CELLS[emit.node.op_type]
    state: State = start
    hidden: dict[int, ir.Value] = {}
    for step in reversed(order) if backwards else order:
        state = cell(emit, weights, products[step], state)
        assert state[0] is not None
        hidden[step] = state[0]
    return _Run(tuple(hidden[step] for step in order), tuple(one for one in state if one))


def _products(
    emit: Emitter, source: ir.Value, weights: Weights, steps: int, batch: int | None
) -> list[ir.Value]:
    """Return what the inputs of each step give, N times gates * H."""
    bias = weights.bias
    if emit.node.op_type != "GRU":
        # Added once, rather than in every step.
        both = [constant_array(one) for one in (bias, weights.state_bias)]
        if both[0] is not None and both[1] is not None:
            bias = emit.constant(both[0] + both[1], "bias")
        elif weights.state_bias is not None:
            bias = emit.sum(bias, weights.state_bias)
    if steps == 1 or batch is None:
        each = [emit.pick(source, 0, step) for step in range(steps)]
        return [emit.sum(emit.op("MatMul", one, weights.source), bias) for one in each]
    flat = emit.op("Reshape", source, emit.axes(steps * batch, -1))
    whole = emit.sum(emit.op("MatMul", flat, weights.source), bias)
    return [emit.slice(whole, 0, one * batch, (one + 1) * batch) for one in range(steps)]


def _lstm(emit: Emitter, weights: Weights, product: ir.Value, state: State) -> State:
    hidden, cell = state
    first, second, third = weights.functions
    if hidden is not None:
        product = emit.op("Add", product, emit.op("MatMul", hidden, weights.state))
    gate_i, gate_o, gate_f, gate_c = _parts(emit, product, weights.size, 4, axis=1)

    def seen(gate: ir.Value, index: int, cell: ir.Value | None) -> ir.Value:
        if weights.peepholes is None or cell is None:
            return gate
        return emit.op("Add", gate, emit.op("Mul", weights.peepholes[index], cell))

    taken = emit.op(first, seen(gate_i, 0, cell))
    new = emit.op("Mul", taken, emit.op(second, gate_c))
    if cell is not None:
        kept = emit.op(first, seen(gate_f, 2, cell))
        new = emit.op("Add", emit.op("Mul", kept, cell), new)
    given = emit.op(first, seen(gate_o, 1, new))
    return emit.op("Mul", given, emit.op(third, new)), new


def _gru(emit: Emitter, weights: Weights, product: ir.Value, state: State) -> State:
    (hidden,) = state
    size, (first, second) = weights.size, weights.functions
    gate_z, gate_r, gate_h = _parts(emit, product, size, 3, axis=1)
    bias = weights.state_bias
    own: Sequence[ir.Value | None] = (None, None, None)
    if bias is not None:
        own = _parts(emit, bias, size, 3, axis=0)
    before = emit.node.attributes.get_int("linear_before_reset", 0)
    if hidden is None:
        return (_gru_first(emit, weights, (gate_z, gate_r, gate_h), own),)
    if before:
        seen = emit.sum(emit.op("MatMul", hidden, weights.state), bias)
        seen_z, seen_r, seen_h = _parts(emit, seen, size, 3, axis=1)
        reset = emit.op(first, emit.op("Add", gate_r, seen_r))
        new = emit.op(second, emit.op("Add", gate_h, emit.op("Mul", reset, seen_h)))
    else:
        two = emit.op("MatMul", hidden, emit.slice(weights.state, 1, 0, 2 * size))
        seen_z, seen_r = _parts(emit, two, size, 2, axis=1)
        seen_z, seen_r = emit.sum(seen_z, own[0]), emit.sum(seen_r, own[1])
        reset = emit.op(first, emit.op("Add", gate_r, seen_r))
        third = emit.slice(weights.state, 1, 2 * size, 3 * size)
        seen_h = emit.op("MatMul", emit.op("Mul", reset, hidden), third)
        new = emit.op(second, emit.sum(gate_h, seen_h, own[2]))
    update = emit.op(first, emit.op("Add", gate_z, seen_z))
    # (1 - z) * new + z * hidden, with one product less.
    return (emit.op("Add", new, emit.op("Mul", update, emit.op("Sub", hidden, new))),)


def _gru_first(
    emit: Emitter,
    weights: Weights,
    gates: tuple[ir.Value, ir.Value, ir.Value],
    own: Sequence[ir.Value | None],
) -> ir.Value:
    """Return the state after a step from a state of zeros."""
    first, second = weights.functions
    third = own[2]
    before = emit.node.attributes.get_int("linear_before_reset", 0)
    if third is not None and before:
        third = emit.op("Mul", emit.op(first, emit.sum(gates[1], own[1])), third)
    new = emit.op(second, emit.sum(gates[2], third))
    update = emit.op(first, emit.sum(gates[0], own[0]))
    return emit.op("Sub", new, emit.op("Mul", update, new))


def _rnn(emit: Emitter, weights: Weights, product: ir.Value, state: State) -> State:
    (hidden,) = state
    if hidden is not None:
        product = emit.op("Add", product, emit.op("MatMul", hidden, weights.state))
    return (emit.op(weights.functions[0], product),)


_CELLS: dict[str, Callable[[Emitter, Weights, ir.Value, State], State]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN": _rnn,
}


def _outputs(emit: Emitter, runs: Sequence[_Run], layout: int) -> list[ir.Value | None]:
    found: list[ir.Value | None] = [None, None, None]
    if is_used(emit.node, 0):
        sides = [emit.stack(run.hidden, 0) for run in runs]  # steps, N, H
        axis = 2 if layout else 1
        if layout:
            sides = [emit.transpose(side, (1, 0, 2)) for side in sides]
        found[0] = emit.stack(sides, axis)
    for place in (1, 2):
        if is_used(emit.node, place):
            found[place] = emit.stack([run.last[place - 1] for run in runs], layout)
    return found


RECURRENT = tuple(_FUNCTIONS)
"""The ops that ``unroll_recurrent`` takes."""
