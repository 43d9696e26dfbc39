"""Which op is written out how."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from bmopt.optimizer.decomposing import (
    activations,
    forms,
    integers,
    movers,
    norms,
    products,
    resize,
)
from bmopt.optimizer.decomposing.emitter import Emitter

Rule = Callable[[Emitter], bool]
"""Replaces the emitter's node and returns whether it did; what it refuses, it does not touch."""

_STANDARD = ("", "ai.onnx")
_RUNTIME = "com.microsoft"

STANDARD: Mapping[str, Rule] = {
    "Celu": activations.replace_celu,
    "ConvInteger": integers.replace_conv_integer,
    "IsInf": forms.replace_is_inf,
    "LayerNormalization": forms.replace_layer_norm,
    "LpNormalization": norms.replace_lp_normalization,
    "OneHot": forms.replace_one_hot,
    "Pow": forms.replace_pow,
    "QLinearConv": integers.replace_conv,
    "QLinearMatMul": integers.replace_matmul,
    "RMSNormalization": forms.replace_rms_norm,
    "Resize": resize.replace_resize,
    "ReverseSequence": movers.replace_reverse_sequence,
    "SimplifiedLayerNormalization": norms.replace_simplified,
    "Swish": activations.replace_swish,
}
"""Op of the standard domain -> rule; some leave the forms alone that every engine has."""

RUNTIME: Mapping[str, Rule] = {
    "BiasAdd": products.replace_bias_add,
    "BiasGelu": activations.replace_bias_gelu,
    "DequantizeLinear": movers.replace_by_standard,
    "DynamicQuantizeMatMul": integers.replace_dynamic_matmul,
    "ExpandDims": movers.replace_expand_dims,
    "FastGelu": activations.replace_fast_gelu,
    "FusedConv": products.replace_fused_conv,
    "FusedGemm": products.replace_fused_gemm,
    "FusedMatMul": products.replace_fused_matmul,
    "FusedMatMulActivation": products.replace_fused_matmul,
    "GatherND": movers.replace_by_standard,
    "Gelu": activations.replace_gelu,
    "MatMulIntegerToFloat": integers.replace_matmul_to_float,
    "MatMulNBits": products.replace_matmul_n_bits,
    "Pad": movers.replace_by_standard,
    "QGemm": integers.replace_gemm,
    "QLinearAdd": integers.replace_by_pairs,
    "QLinearAveragePool": integers.replace_by_pairs,
    "QLinearConcat": integers.replace_by_pairs,
    "QLinearConv": integers.replace_conv,
    "QLinearGlobalAveragePool": integers.replace_by_pairs,
    "QLinearLeakyRelu": integers.replace_by_pairs,
    "QLinearMul": integers.replace_by_pairs,
    "QLinearSigmoid": integers.replace_by_pairs,
    "QLinearSoftmax": integers.replace_softmax,
    "QLinearWhere": integers.replace_by_pairs,
    "QuantizeLinear": movers.replace_by_standard,
    "QuickGelu": activations.replace_quick_gelu,
    "Range": movers.replace_by_standard,
    "SkipLayerNormalization": norms.replace_skip_norm,
    "SkipSimplifiedLayerNormalization": norms.replace_skip_simplified,
    "TransposeMatMul": products.replace_fused_matmul,
    "Trilu": movers.replace_by_standard,
}
"""Op of ONNX Runtime's domain -> rule."""


def rule_for(node: ir.Node) -> Rule | None:
    """Return what writes ``node`` out; None where it stays."""
    if node.domain in _STANDARD:
        return STANDARD.get(node.op_type)
    return RUNTIME.get(node.op_type) if node.domain == _RUNTIME else None
