"""Vectors that several nodes read become each one's own."""

from __future__ import annotations

import math

import onnx_ir as ir

from bmopt.graph.channels.movers import set_input
from bmopt.graph.values import constant_array


def own_vectors(model: ir.Model) -> bool:
    """Give every node of the main graph a copy of each vector that others read too, in place.

    Biases that are zero, or scales that are one, are often one constant for many layers, whose
    channels would have to go together. A vector is a constant of floats with one axis that is
    longer than one.

    Returns:
        Whether there were any.
    """
    found = False
    for value in list(model.graph.initializers.values()):
        if not _is_vector(value) or value.is_graph_output():
            continue
        array = constant_array(value)
        uses = [use for use in value.uses() if use.node.graph is model.graph]
        is_read_inside = len(uses) < len(list(value.uses()))
        first = None if is_read_inside or not uses else uses[0].node
        for use in uses:
            if use.node is not first and array is not None:
                set_input(use.node, use.idx, array, f"own{use.idx}")
                found = True
    return found


def _is_vector(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or value.is_graph_input() or not tensor.dtype.is_floating_point():
        return False
    sizes = tensor.shape.numpy()
    return bool(sizes) and 1 < math.prod(sizes) == max(sizes)
