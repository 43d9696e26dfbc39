"""Op -> how channels pass it."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from bmopt.graph.channels import movers, pointwise, products, reshaping, sizing
from bmopt.graph.channels.einsum import einsum
from bmopt.graph.channels.flow import Flow, is_constant

Rule = Callable[[Flow, ir.Node], None]

_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
_POOLS = (
    "AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool",
)  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys(pointwise.UNARY, pointwise.unary),
    **dict.fromkeys(pointwise.BROADCAST, pointwise.broadcast),
    **dict.fromkeys(_REDUCTIONS, pointwise.reduction),
    **dict.fromkeys(_POOLS, pointwise.all_but_first),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), pointwise.layer_norm),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), pointwise.softmax),
    **dict.fromkeys(("ArgMax", "ArgMin"), pointwise.arg_reduction),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), pointwise.recurrent),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), movers.shuffle),
    **dict.fromkeys(("Resize", "Upsample"), sizing.resize),
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze"), reshaping.flatten),
    "BatchNormalization": pointwise.batch_norm,
    "Concat": movers.concat,
    "Conv": products.conv,
    "ConvTranspose": products.conv_transpose,
    "Einsum": einsum,
    "Expand": sizing.expand,
    "Gather": movers.gather,
    "Gemm": products.gemm,
    "GroupNormalization": pointwise.group_norm,
    "InstanceNormalization": pointwise.instance_norm,
    "LpNormalization": pointwise.lp_norm,
    "MatMul": products.matmul,
    "Pad": movers.pad,
    "Reshape": reshaping.reshape,
    "Shape": sizing.shape,
    "Slice": movers.slice_,
    "Split": movers.split,
    "Transpose": movers.transpose,
}


def walk(flow: Flow, node: ir.Node) -> None:
    """Take the channels of what ``node`` reads to what it writes."""
    if node.op_type == "Constant":
        return
    rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None or (node.inputs and all(map(is_constant, node.inputs))):
        flow.keep_inputs(node)
        return
    rule(flow, node)
