"""Chains of Add, Sub, Mul, Div by constants and Neg, computed by as few nodes as possible."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.values import constant_tensor, only_consumer
from bmopt.optimizer.arithmetic.affine_ops import affine_of, affine_operands
from bmopt.optimizer.arithmetic.linear_ops import drop_unused, rounded
from bmopt.optimizer.rewrite import add_constant, new_node, remove_dead, replace_output, root_graph
from bmopt.optimizer.sweeps import RefusedError

_FREE_ELEMENTS = 1024
"""A merged constant up to this size may be new; a larger one must replace as much."""

_MANTISSA_BITS = {
    ir.DataType.FLOAT16: 10,
    ir.DataType.BFLOAT16: 7,
    ir.DataType.FLOAT: 23,
    ir.DataType.DOUBLE: 52,
}


@dataclasses.dataclass(frozen=True)
class Chain:
    """Affine nodes, each the only reader of the one before it."""

    source: ir.Value
    nodes: tuple[ir.Node, ...]
    dtype: ir.DataType


def chain_to(last: ir.Node, others: Collection[ir.Node] = ()) -> Chain | None:
    """Return the longest chain that ends at ``last``, None where that is one node or none.

    Nodes in ``others`` belong to no chain.
    """
    nodes: list[ir.Node] = []
    node: ir.Node | None = last
    operands = affine_operands(last)
    source = None
    while node is not None and operands is not None:
        nodes.insert(0, node)
        source = operands[0]
        node = _private_producer(source, node)
        operands = None if node is None or node in others else affine_operands(node)
    dtype = last.outputs[0].dtype or (source.dtype if source is not None else None)
    if source is None or len(nodes) < 2 or dtype not in _MANTISSA_BITS:
        return None
    return Chain(source, tuple(nodes), dtype)


def merge(chain: Chain) -> bool:
    """Rewrite ``chain`` with fewer nodes; False where it has no more than it needs.

    Raises:
        RefusedError: The merged constants would be large, or round differently on purpose.
    """
    scale, shift, shape = _compose(chain)
    steps = _steps(scale, shift)
    if len(steps) >= len(chain.nodes):
        return False
    steps[-1] = (steps[-1][0], np.broadcast_to(steps[-1][1], shape))
    _require_small(chain, steps)
    constants = [rounded(array, chain.dtype) for _, array in steps]
    last = chain.nodes[-1]
    operands = [value for node in chain.nodes for value in node.inputs]
    value = chain.source
    for (op_type, _), array in zip(steps, constants, strict=True):
        value = _step(op_type, value, array, chain)
    replace_output(last.outputs[0], value)
    remove_dead([last])
    for operand in operands:
        drop_unused(operand)
    return True


def _step(op_type: str, value: ir.Value, array: Array, chain: Chain) -> ir.Value:
    last = chain.nodes[-1]
    if op_type == "Neg":
        inputs: list[ir.Value | None] = [value]
    else:
        constant = add_constant(root_graph(last), f"{last.name}.{op_type.lower()}", array)
        inputs = [constant, value] if op_type == "Sub" else [value, constant]
    node = new_node(op_type, inputs, like=last, stands_for=chain.nodes)
    node.outputs[0].type = ir.TensorType(chain.dtype)
    return node.outputs[0]


def _private_producer(value: ir.Value, reader: ir.Node) -> ir.Node | None:
    producer = value.producer()
    if producer is None or producer.graph is not reader.graph or value.is_graph_output():
        return None
    return producer if only_consumer(value) is reader else None


def _compose(chain: Chain) -> tuple[Array, Array, tuple[int, ...]]:
    """Return scale, shift and the shape that all constants broadcast to."""
    scale: Array = np.ones(())
    shift: Array = np.zeros(())
    limit = 2.0 ** (_MANTISSA_BITS[chain.dtype] - 1)
    for node in chain.nodes:
        step = affine_of(node)
        assert step is not None
        if not (np.isfinite(step.scale).all() and np.isfinite(step.shift).all()):
            raise RefusedError("ends a chain with a constant that is not finite")
        if np.abs(step.shift).max(initial=0) >= limit:
            raise RefusedError("ends a chain with a constant so large that it rounds its input")
        scale, shift = scale * step.scale, shift * step.scale + step.shift
    shape = np.broadcast_shapes(scale.shape, shift.shape)
    return scale, shift, shape


def _steps(scale: Array, shift: Array) -> list[tuple[str, Array]]:
    """Return the nodes that compute ``scale * x + shift``, in order; at least one."""
    moves = bool(np.any(shift != 0))
    if np.all(scale == -1) and moves:
        return [("Sub", shift)]
    if np.all(scale == -1) and scale.ndim == 0 and shift.ndim == 0:
        return [("Neg", scale)]
    if np.all(scale == 1) and moves:
        return [("Add", shift)]
    return [("Mul", scale), ("Add", shift)] if moves else [("Mul", scale)]


def _require_small(chain: Chain, steps: list[tuple[str, Array]]) -> None:
    """Refuse constants larger than those that go away."""
    old = [constant_tensor(value) for node in chain.nodes for value in _last_uses(node)]
    freed = sum(tensor.size for tensor in old if tensor is not None)
    if sum(array.size for _, array in steps) > max(_FREE_ELEMENTS, freed):
        raise RefusedError("ends a chain whose constants would grow when merged")


def _last_uses(node: ir.Node) -> list[ir.Value]:
    return [v for v in node.inputs if v is not None and len(v.uses()) == 1]
