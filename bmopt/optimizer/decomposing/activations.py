"""Activation functions that an engine may lack, most of them of ONNX Runtime's domain."""

from __future__ import annotations

import math

import onnx_ir as ir

from bmopt.optimizer.decomposing.emitter import Emitter, input_at, need

_K = math.sqrt(2 / math.pi)
_CUBE = 0.044715


def gelu(emit: Emitter, value: ir.Value) -> ir.Value:
    """Return ``0.5 x (1 + erf(x / sqrt(2)))``."""
    inner = emit.op("Erf", emit.op("Mul", value, emit.number(math.sqrt(0.5), value)))
    half = emit.op("Mul", value, emit.number(0.5, value))
    return emit.op("Mul", half, emit.op("Add", inner, emit.number(1, value)))


def fast_gelu(emit: Emitter, value: ir.Value) -> ir.Value:
    """Return ``0.5 x (1 + tanh(k (x + 0.044715 x^3)))``."""
    square = emit.op("Mul", value, value)
    slope = emit.op("Mul", square, emit.number(_K * _CUBE, value))
    inner = emit.op("Mul", value, emit.op("Add", slope, emit.number(_K, value)))
    half = emit.op("Mul", value, emit.number(0.5, value))
    return emit.op("Mul", half, emit.op("Add", emit.op("Tanh", inner), emit.number(1, value)))


def swish(emit: Emitter, value: ir.Value, alpha: float) -> ir.Value:
    """Return ``x sigmoid(alpha x)``."""
    inner = value if alpha == 1 else emit.op("Mul", value, emit.number(alpha, value))
    return emit.op("Mul", value, emit.op("Sigmoid", inner))


def activated(emit: Emitter, value: ir.Value, name: str, numbers: tuple[float, ...]) -> ir.Value:
    """Return an activation that another op has fused, with its parameters in their order."""
    given = dict(zip(_PARAMETERS.get(name, ()), numbers, strict=False))
    if name == "Clip":
        low, high = numbers
        return emit.op(
            "Min", emit.op("Max", value, emit.number(low, value)), emit.number(high, value)
        )
    return emit.op(name, value, **given) if name else value


_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Elu": ("alpha",)}


def replace_gelu(emit: Emitter) -> bool:
    """Replace Gelu of ONNX Runtime's domain."""
    return emit.finish([gelu(emit, need(emit.node, 0))])


def replace_bias_gelu(emit: Emitter) -> bool:
    """Replace BiasGelu."""
    total = emit.op("Add", need(emit.node, 0), need(emit.node, 1))
    return emit.finish([gelu(emit, total)])


def replace_fast_gelu(emit: Emitter) -> bool:
    """Replace FastGelu, whose bias may be left out."""
    total = emit.sum(need(emit.node, 0), input_at(emit.node, 1))
    return emit.finish([fast_gelu(emit, total)])


def replace_quick_gelu(emit: Emitter) -> bool:
    """Replace QuickGelu."""
    alpha = emit.node.attributes.get_float("alpha", 1.702)
    return emit.finish([swish(emit, need(emit.node, 0), alpha)])


def replace_swish(emit: Emitter) -> bool:
    """Replace Swish."""
    alpha = emit.node.attributes.get_float("alpha", 1.0)
    return emit.finish([swish(emit, need(emit.node, 0), alpha)])


def replace_celu(emit: Emitter) -> bool:
    """Replace Celu, ``max(0, x) + min(0, alpha (exp(x / alpha) - 1))``."""
    value, alpha = need(emit.node, 0), emit.node.attributes.get_float("alpha", 1.0)
    scaled = emit.op("Elu", emit.op("Div", value, emit.number(alpha, value)), alpha=1.0)
    return emit.finish([emit.op("Mul", scaled, emit.number(alpha, value))])
