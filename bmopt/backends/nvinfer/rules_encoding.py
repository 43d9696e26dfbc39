"""What every QuantizeLinear and DequantizeLinear has to keep to for the parser to take it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from bmopt.backends.nvinfer.lint_operands import stored_type
from bmopt.backends.nvinfer.linted import (
    Check,
    Linted,
    constant_of,
    found,
    input_of,
    is_computed_from_constants,
    name_of,
)
from bmopt.core.finding import Finding, Rule

NON_ZERO = Rule(
    "TRT001", "non-zero-zero-point", "error", "Zero points are 0: quantisation is symmetric."
)
MOVING_ZERO = Rule(
    "TRT002", "computed-zero-point", "error", "Zero points are constants of the graph."
)
ZERO_COUNT = Rule(
    "TRT003", "zero-point-count", "error", "There are as many zero points as scales."
)
NOT_POSITIVE = Rule("TRT004", "scale-not-positive", "error", "Scales are numbers above 0.")
SCALE_COUNT = Rule(
    "TRT005", "scale-count", "error", "There is one scale, or one for each index of the axis."
)
TYPE = Rule(
    "TRT006",
    "quantized-type",
    "error",
    "Q/DQ nodes convert between float and int8, float8e4m3fn, int4 or float4e2m1.",
)
INT32_BIAS = Rule("TRT007", "int32-bias", "error", "Biases stay in float.")
ODD = Rule("TRT009", "odd-4-bit", "error", "4-bit tensors have an even number of elements.")
UINT8 = Rule(
    "TRT107",
    "uint8-as-int8",
    "warning",
    "Activations are int8; uint8 with zero point 0 is taken as int8, which cuts off at 127.",
)
INFINITE = Rule("TRT108", "infinite-scale", "warning", "Scales are finite.")

RULES = (
    NON_ZERO,
    MOVING_ZERO,
    ZERO_COUNT,
    NOT_POSITIVE,
    SCALE_COUNT,
    TYPE,
    INT32_BIAS,
    ODD,
    UINT8,
    INFINITE,
)

_FLOATS = (
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
)
_STORED = (
    ir.DataType.INT8,
    ir.DataType.FLOAT8E4M3FN,
    ir.DataType.INT4,
    ir.DataType.FLOAT4E2M1,
)
_FOUR_BITS = (ir.DataType.INT4, ir.DataType.FLOAT4E2M1)
_TO_INT8 = "quantise symmetrically to int8 (or float8e4m3fn)"


def check_zero_points(facts: Linted) -> Iterator[Finding]:
    """Yield zero points that are not 0, not constant, or too few."""
    for node in facts.of("QuantizeLinear", "DequantizeLinear"):
        zero = input_of(node, 2)
        if zero is None:
            continue
        tensor, scale = constant_of(zero), constant_of(node.inputs[1])
        if tensor is None:
            if not is_computed_from_constants(zero):
                fix = "make it an initialiser of zeros, or leave it out"
                yield found(MOVING_ZERO, node, f"zero point {zero.name!r} is computed", fix)
            continue
        if (value := _first_not_zero(tensor)) is not None:
            fix = "quantise symmetrically: int8 with zero point 0"
            yield found(NON_ZERO, node, f"{tensor.dtype.name.lower()} zero point {value}", fix)
        if scale is not None and tensor.size != scale.size:
            counts = f"{tensor.size} zero points for {scale.size} scales"
            yield found(ZERO_COUNT, node, counts, "give both the same shape, or leave it out")


def _first_not_zero(tensor: ir.TensorProtocol) -> int | None:
    numbers = np.asarray(tensor.numpy()).astype(np.float32).reshape(-1)
    odd = numbers[numbers != 0]
    return int(odd[0]) if odd.size else None


def check_scales(facts: Linted) -> Iterator[Finding]:
    """Yield scales that are no positive numbers, or do not fit the tensor."""
    for node in facts.of("QuantizeLinear", "DequantizeLinear"):
        scale = constant_of(node.inputs[1])
        if scale is None:
            continue
        numbers = np.asarray(scale.numpy()).astype(np.float64).reshape(-1)
        bad = numbers[~(numbers > 0)]
        if bad.size:
            fix = "calibrate again: the tensor was always 0 or not a number"
            yield found(NOT_POSITIVE, node, f"scale {bad[0]:g}", fix)
        if np.isposinf(numbers).any():
            yield found(INFINITE, node, "infinite scale", "calibrate on finite samples")
        if (problem := _misfit(facts, node, scale)) is not None:
            yield found(SCALE_COUNT, node, problem, "give one scale a channel of the axis")


def _misfit(facts: Linted, node: ir.Node, scale: ir.TensorProtocol) -> str | None:
    """Return what does not fit between the scales and what they scale."""
    sizes = tuple(int(size) for size in scale.shape.numpy())
    shape = facts.shape(node.inputs[0])
    if shape is None or math.prod(sizes) == 1:
        return None
    axis = node.attributes.get_int("axis", 1)
    if not -len(shape) <= axis < len(shape):
        return f"axis {axis} of a tensor of rank {len(shape)}"
    axis %= len(shape)
    if len(sizes) == 1:
        # Size 1 may be a dynamic axis.
        wrong = sizes[0] != shape[axis] and shape[axis] != 1
        return f"{sizes[0]} scales for axis {axis} of size {shape[axis]}" if wrong else None
    return _misfit_blocks(sizes, shape, axis)


def _misfit_blocks(sizes: tuple[int, ...], shape: tuple[int, ...], axis: int) -> str | None:
    if len(sizes) != len(shape):
        return f"scales of rank {len(sizes)} for a tensor of rank {len(shape)}"
    if axis < len(shape) - 2:
        return f"blocks along axis {axis}; only the last two axes can have blocks"
    wrong = [i for i, size in enumerate(sizes) if i != axis and shape[i] not in (size, 1)]
    if wrong or shape[axis] % sizes[axis]:
        return f"scales of shape {list(sizes)} for a tensor of shape {list(shape)}"
    return None


def check_types(facts: Linted) -> Iterator[Finding]:
    """Yield Q/DQ nodes of types that the engine does not convert."""
    for node in facts.of("QuantizeLinear"):
        yield from _check_quantize(facts, node)
    for node in facts.of("DequantizeLinear"):
        yield from _check_dequantize(facts, node)


def _check_quantize(facts: Linted, node: ir.Node) -> Iterator[Finding]:
    source = facts.dtype(node.inputs[0])
    if source is not None and source not in _FLOATS:
        message = f"quantises {source.name.lower()}, which is no float type"
        yield found(TYPE, node, message, "cast to float before, or drop the node")
    zero = input_of(node, 2)
    to = ir.DataType(node.attributes.get_int("output_dtype", 0)) or facts.dtype(zero)
    if to == ir.DataType.UINT8 or not to:
        if (tensor := constant_of(zero)) is None or _first_not_zero(tensor) is None:
            message = "uint8, which the engine takes as int8"
            if zero is None:
                message = "no zero point means uint8 in ONNX, which the engine takes as int8"
            yield found(UINT8, node, message, "write int8 zero points and calibrate for int8")
    elif to not in _STORED:
        yield found(TYPE, node, f"quantises to {to.name.lower()}", _TO_INT8)
    elif to in _FOUR_BITS:
        yield from _check_even(facts, node)


def _check_dequantize(facts: Linted, node: ir.Node) -> Iterator[Finding]:
    dtype = facts.dtype(node.inputs[0]) or facts.dtype(input_of(node, 2))
    if dtype == ir.DataType.INT32:
        products = [name_of(use.node) for use in node.outputs[0].uses() if use.idx == 2]
        where = f" as the bias of {products[0]}" if products else ""
        fix = "keep the bias in float (quantize_static: QuantizeBias=False)"
        yield found(INT32_BIAS, node, f"dequantises int32{where}", fix)
    elif dtype == ir.DataType.UINT8:
        if _quantizer(node) is None:
            yield found(TYPE, node, "dequantises uint8", _TO_INT8)
    elif dtype is not None and dtype not in _STORED:
        yield found(TYPE, node, f"dequantises {dtype.name.lower()}", _TO_INT8)
    elif stored_type(facts, node) in _FOUR_BITS:
        yield from _check_even(facts, node)


def _quantizer(dq: ir.Node) -> ir.Node | None:
    """Return the QuantizeLinear before a DequantizeLinear, through ops that move values."""
    value = dq.inputs[0]
    node = None if value is None else value.producer()
    while node is not None and node.op_type != "QuantizeLinear":
        source = node.inputs[0] if node.inputs else None
        node = None if source is None else source.producer()
    return node


def _check_even(facts: Linted, node: ir.Node) -> Iterator[Finding]:
    shape = facts.shape(node.inputs[0])
    constant = constant_of(node.inputs[0])
    if shape is not None and math.prod(shape) % 2 and (constant is not None or 1 not in shape):
        message = f"4-bit tensor of {math.prod(shape)} elements"
        yield found(ODD, node, message, "keep this tensor in 8 bits or in float")


CHECKS: tuple[Check, ...] = (check_zero_points, check_scales, check_types)
