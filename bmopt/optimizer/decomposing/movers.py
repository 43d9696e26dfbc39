"""Ops that move values, and ops of ONNX Runtime's domain that became standard since."""

from __future__ import annotations

import numpy as np

from bmopt.optimizer.decomposing.emitter import Emitter, input_at, known, need
from bmopt.optimizer.sweeps import RefusedError

_SINCE = {
    "DequantizeLinear": 13,
    "GatherND": 12,
    "Pad": 11,
    "QuantizeLinear": 13,
    "Range": 11,
    "Trilu": 14,
}
"""Op -> the opset that has it in the form that ONNX Runtime's own has."""

_MOST_SEQUENCES = 64


def replace_by_standard(emit: Emitter) -> bool:
    """Replace an op by the standard one of its name.

    Raises:
        RefusedError: The model's opset has none that is the same.
    """
    node = emit.node
    since = _SINCE[node.op_type]
    if emit.version < since:
        raise RefusedError(f"needs opset {since}, the model has {emit.version}")
    inputs = [input_at(node, place) for place in range(len(node.inputs))]
    return emit.finish([emit.op(node.op_type, *inputs, **dict(node.attributes))])


def replace_expand_dims(emit: Emitter) -> bool:
    """Replace ExpandDims."""
    axis = known(emit.node, 1)
    if axis is None:
        raise RefusedError("has no axis")
    return emit.finish([emit.unsqueeze(need(emit.node, 0), int(axis.reshape(-1)[0]))])


def replace_reverse_sequence(emit: Emitter) -> bool:
    """Replace ReverseSequence of lengths that are known.

    Raises:
        RefusedError: They are not, or there are too many sequences of several lengths.
    """
    node, value = emit.node, need(emit.node, 0)
    lengths = known(node, 1)
    time = node.attributes.get_int("time_axis", 0)
    batch = node.attributes.get_int("batch_axis", 1)
    steps = None if value.shape is None else value.shape[time]
    if lengths is None or not isinstance(steps, int):
        raise RefusedError("has an unknown number of steps; fix it with --shapes")
    orders = [
        np.concatenate([np.arange(one)[::-1], np.arange(one, steps)]).astype(np.int64)
        for one in map(int, lengths)
    ]
    if len(set(map(int, lengths))) == 1:
        order = emit.constant(orders[0], "order")
        return emit.finish([emit.op("Gather", value, order, axis=time)])
    if len(orders) > _MOST_SEQUENCES:
        raise RefusedError(f"has {len(orders)} sequences, more than {_MOST_SEQUENCES}")
    parts = [
        emit.op("Gather", emit.slice(value, batch, i, i + 1), emit.constant(one), axis=time)
        for i, one in enumerate(orders)
    ]
    return emit.finish([emit.concat(parts, batch)])
