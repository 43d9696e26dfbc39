"""Whether a model is quantised already."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.graph.nesting import nodes_in

_QUANTIZED_OPS = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QAttention",
        "QGemm",
        "QuantizeLinear",
    }
)


def is_quantized(model: ir.Model) -> bool:
    """Whether any node, through sub-graphs and functions, quantises or computes in integers."""
    nodes = [*nodes_in(model.graph), *(n for f in model.functions.values() for n in f)]
    return any(
        node.op_type in _QUANTIZED_OPS or node.op_type.startswith("QLinear") for node in nodes
    )
