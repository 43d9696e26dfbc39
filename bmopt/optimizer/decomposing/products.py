"""Products of ONNX Runtime's domain that have something fused to them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.optimizer.decomposing.activations import activated
from bmopt.optimizer.decomposing.emitter import Emitter, input_at, known, need
from bmopt.optimizer.sweeps import RefusedError

_ACTIVATIONS = ("", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh")
_NEED_ALL = {"Clip": 2, "HardSigmoid": 2, "LeakyRelu": 1}
_NIBBLE = 4
_BYTE = 8


def replace_fused_matmul(emit: Emitter) -> bool:
    """Replace FusedMatMul: operands transposed, the product times a number."""
    node = emit.node
    get = node.attributes.get_int
    if get("transBatchA", 0) or get("transBatchB", 0):
        raise RefusedError("has a batch that is not in front")
    name, numbers = _activation(node)
    sides = [_turned(emit, need(node, i), get(f"trans{'AB'[i]}", 0)) for i in range(2)]
    product = emit.op("MatMul", *sides)
    alpha = node.attributes.get_float("alpha", 1.0)
    if alpha != 1:
        product = emit.op("Mul", product, emit.number(alpha, need(node, 0)))
    return emit.finish([activated(emit, product, name, numbers)])


def _turned(emit: Emitter, value: ir.Value, flag: int) -> ir.Value:
    if not flag:
        return value
    if value.shape is None:
        raise RefusedError(f"transposes {value.name!r}, whose rank is unknown")
    rank = len(value.shape)
    if rank < 2:
        return value
    return emit.transpose(value, (*range(rank - 2), rank - 1, rank - 2))


def _activation(node: ir.Node) -> tuple[str, tuple[float, ...]]:
    """Return the activation that an op has fused, and its parameters."""
    name = node.attributes.get_string("activation", "")
    numbers = tuple(node.attributes.get_floats("activation_params", ()))
    if name not in _ACTIVATIONS or len(numbers) < _NEED_ALL.get(name, 0):
        raise RefusedError(f"has the activation {name}")
    return name, numbers


def replace_fused_conv(emit: Emitter) -> bool:
    """Replace FusedConv: a convolution, something added, an activation."""
    node = emit.node
    name, numbers = _activation(node)
    inputs = [need(node, 0), need(node, 1), input_at(node, 2)]
    taken = {k: v for k, v in node.attributes.items() if not k.startswith("activation")}
    product = emit.op("Conv", *inputs, **taken)
    total = emit.sum(product, input_at(node, 3))
    return emit.finish([activated(emit, total, name, numbers)])


def replace_fused_gemm(emit: Emitter) -> bool:
    """Replace FusedGemm, whose activation's parameters are attributes of their own."""
    node = emit.node
    name = node.attributes.get_string("activation", "")
    number = node.attributes.get_float
    given = {"LeakyRelu": (number("activation_alpha", 0.01),)}
    if name not in ("", "LeakyRelu", "Relu", "Sigmoid", "Tanh"):
        raise RefusedError(f"has the activation {name}")
    inputs = [need(node, 0), need(node, 1), input_at(node, 2)]
    taken = {k: v for k, v in node.attributes.items() if not k.startswith("activation")}
    product = emit.op("Gemm", *inputs, **taken)
    return emit.finish([activated(emit, product, name, given.get(name, ()))])


def replace_matmul_n_bits(emit: Emitter) -> bool:
    """Replace MatMulNBits by a product with its weights as floats.

    Raises:
        RefusedError: The weights are no constants, are of other than 4 or 8 bits, or are in an
            order of their own.
    """
    node = emit.node
    packed, scales, zeros, order = (known(node, place) for place in (1, 2, 3, 4))
    bits = node.attributes.get_int("bits", _NIBBLE)
    if packed is None or scales is None or bits not in (_NIBBLE, _BYTE):
        raise RefusedError(f"has weights of {bits} bits")
    if order is not None:
        raise RefusedError("has its weights in an order of their own")
    depth, width = node.attributes.get_int("K", 0), node.attributes.get_int("N", 0)
    values = _nibbles(packed, bits).reshape(width, -1, node.attributes.get_int("block_size", 32))
    scale = scales.reshape(width, -1, 1).astype(np.float32)
    middle = np.float32(1 << (bits - 1))
    if zeros is None:
        zero: Array = np.full_like(scale, middle)
    elif np.issubdtype(zeros.dtype, np.floating):
        zero = zeros.reshape(scale.shape).astype(np.float32)
    else:
        rows = _nibbles(zeros.reshape(width, -1), bits)[:, : scale.shape[1]]
        zero = rows.reshape(scale.shape).astype(np.float32)
    weight = ((values.astype(np.float32) - zero) * scale).reshape(width, -1)[:, :depth]
    made = emit.constant(np.ascontiguousarray(weight.T).astype(scales.dtype), "weight")
    return emit.finish([emit.sum(emit.op("MatMul", need(node, 0), made), input_at(node, 5))])


def _nibbles(packed: Array, bits: int) -> Array:
    """Return packed values one by one along the last axis, the low half of a byte first."""
    if bits == _BYTE:
        return packed
    both = np.stack([packed & 15, packed >> _NIBBLE], axis=-1)
    return both.reshape(*packed.shape[:-1], -1)


def replace_bias_add(emit: Emitter) -> bool:
    """Replace BiasAdd: a tensor, a bias and what is skipped to."""
    return emit.finish([emit.sum(*(need(emit.node, place) for place in range(3)))])
