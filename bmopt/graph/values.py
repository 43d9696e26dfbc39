"""Questions about values: constants, consumers, shapes."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the tensor behind ``value`` if it can never change, else None.

    An initialiser that is also a graph input can be fed, so it is not constant.
    """
    if value is None or value.is_graph_input():
        return None
    return ir.convenience.get_const_tensor(value)


def constant_array(value: ir.Value | None) -> Array | None:
    """Return the array behind ``value`` if it can never change, else None."""
    tensor = constant_tensor(value)
    return None if tensor is None else tensor.numpy()


def constant_scalar(value: ir.Value | None) -> float | None:
    """Return the single number behind ``value`` (any rank, one element), else None."""
    tensor = constant_tensor(value)
    if tensor is None or tensor.size != 1:
        return None
    return float(np.asarray(tensor.numpy()).reshape(-1)[0])


def only_consumer(value: ir.Value) -> ir.Node | None:
    """Return the node that alone reads ``value``, None where there are more or it is an output.

    A node that reads the value twice, or a sub-graph that reads it, counts.
    """
    if value.is_graph_output():
        return None
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 else None


def producer_of(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the standard-domain node producing ``value`` if its op is one of ``op_types``."""
    node = None if value is None else value.producer()
    if node is None or node.domain not in ("", "ai.onnx") or node.op_type not in op_types:
        return None
    return node


def is_op(node: ir.Node, *op_types: str) -> bool:
    """Whether ``node`` is one of the standard-domain ops ``op_types``."""
    return node.domain in ("", "ai.onnx") and node.op_type in op_types


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return the shape if every axis is a known number, else None."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(int(d) for d in value.shape.numpy())


def element_count(value: ir.Value | None) -> int | None:
    """Return how many elements a value of static shape has, else None."""
    shape = static_shape(value)
    return None if shape is None else math.prod(shape)
