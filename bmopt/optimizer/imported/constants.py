"""Constants that a quantised graph computes from other constants."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.nesting import subgraphs_of
from bmopt.graph.values import constant_array
from bmopt.optimizer.evaluation import evaluate

_DEEPEST = 16
_NEVER = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike"}
)
_NUMPY_TYPES = frozenset(
    {
        ir.DataType.BOOL,
        ir.DataType.DOUBLE,
        ir.DataType.FLOAT,
        ir.DataType.FLOAT16,
        ir.DataType.INT8,
        ir.DataType.INT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.UINT8,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
    }
)


def known_array(value: ir.Value | None, model: ir.Model) -> Array | None:
    """Return what ``value`` holds if constants alone decide it, else None."""
    array = constant_array(value)
    if array is not None or value is None or value.producer() is None:
        return array
    nodes: dict[ir.Node, None] = {}
    if not _gather(value, nodes, 0):
        return None
    return evaluate(list(nodes), [value], model).get(value)


def _gather(value: ir.Value, nodes: dict[ir.Node, None], depth: int) -> bool:
    """Add the nodes that compute ``value`` to ``nodes``; whether they read only constants."""
    if constant_array(value) is not None:
        return True
    node = value.producer()
    if node is None or not _is_plain(node) or depth > _DEEPEST:
        return False
    if node in nodes:
        return True
    if not all(_gather(read, nodes, depth + 1) for read in node.inputs if read is not None):
        return False
    nodes[node] = None
    return True


def _is_plain(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type in _NEVER or not node.inputs:
        return False
    # ONNX Runtime hands types that NumPy lacks over as bytes.
    made = ir.DataType(node.attributes.get_int("to", int(ir.DataType.FLOAT)))
    return made in _NUMPY_TYPES and not subgraphs_of(node)
