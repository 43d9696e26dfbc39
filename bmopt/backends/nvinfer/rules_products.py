"""Which products run in 8 bits, and why the others that have Q/DQ nodes do not."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from bmopt.backends.nvinfer.lint_operands import Operand, concat_shares_scale, operand_of
from bmopt.backends.nvinfer.linted import Check, Linted, found, name_of
from bmopt.core.finding import Finding, Rule
from bmopt.graph.products import PRODUCT_OPS

MIXED = Rule("TRT010", "mixed-8-bit", "error", "Both operands of a product are of one 8-bit type.")
DYNAMIC_CONV = Rule(
    "TRT011",
    "computed-scale-convolution",
    "error",
    "The scales of a quantised convolution are constants; TensorRT-RTX ends with a crash.",
)
WEIGHT = Rule(
    "TRT101", "weight-not-quantized", "warning", "A product in 8 bits has Q/DQ on its weight."
)
ACTIVATION = Rule(
    "TRT102",
    "activation-not-quantized",
    "warning",
    "A product in 8 bits has Q/DQ on every operand, with only moving ops in between.",
)
PER_CHANNEL = Rule(
    "TRT103",
    "per-channel-activation",
    "warning",
    "Activations have one scale, which for convolutions is a scalar.",
)
AXIS = Rule(
    "TRT104",
    "weight-axis",
    "warning",
    "Scales of weights lie along the output channels: axis 0 of Conv, 1 of ConvTranspose, the "
    "last of MatMul, 1 of Gemm or 0 with transB.",
)
DYNAMIC = Rule(
    "TRT105", "computed-scale", "warning", "The scales of a product's operands are constants."
)
CONCAT = Rule(
    "TRT106", "concat-scales", "warning", "What a Concat before a product joins has one scale."
)
BLOCKS = Rule("TRT109", "blocked-8-bit", "warning", "Only 4-bit weights are quantised in blocks.")
FOUR_BITS = Rule("TRT112", "4-bit-activation", "warning", "Only weights are quantised to 4 bits.")
PER_ROW = Rule(
    "TRT204",
    "per-row-activation",
    "note",
    "TensorRT documents one scale for activations; one a row was seen to work.",
)

RULES = (
    MIXED,
    DYNAMIC_CONV,
    WEIGHT,
    ACTIVATION,
    PER_CHANNEL,
    AXIS,
    DYNAMIC,
    CONCAT,
    BLOCKS,
    FOUR_BITS,
    PER_ROW,
)

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def check_products(facts: Linted) -> Iterator[Finding]:
    """Yield what keeps products with Q/DQ nodes from 8 bits."""
    for node in facts.of(*PRODUCT_OPS):
        operands = product_operands(facts, node)
        for operand in operands:
            if operand.four_bits and not operand.constant:
                message = f"reads {_text(operand)} in 4 bits, and runs in float"
                yield found(FOUR_BITS, node, message, "quantise the activation to 8 bits")
        if len(operands) == 2 and any(operand.eight_bits for operand in operands):
            yield from _check(facts, node, operands)


def product_operands(facts: Linted, node: ir.Node) -> list[Operand]:
    """Return the two operands of a product."""
    return [operand_of(facts, value) for value in node.inputs[:2] if value is not None]


def _check(facts: Linted, node: ir.Node, operands: list[Operand]) -> Iterator[Finding]:
    float_ones = [o for o in operands if o.dq is None]
    if float_ones:
        yield _half_quantized(node, float_ones[0])
        return
    eight = [o for o in operands if o.eight_bits]
    types = sorted({str(o.dtype.name).lower() for o in eight if o.dtype is not None})
    if len(types) > 1:
        message = f"operands of {' and '.join(types)}"
        yield found(MIXED, node, message, "quantise both operands to the same type")
        return
    if not all(o.fixed for o in eight):
        yield _computed_scale(node, next(o for o in eight if not o.fixed))
    for index, operand in enumerate(operands):
        if operand.eight_bits:
            yield from _check_axis(facts, node, operand, index)


def _half_quantized(node: ir.Node, operand: Operand) -> Finding:
    text = _text(operand)
    if operand.constant:
        fix = "quantise the weight too, or drop the Q/DQ pair of the activation"
        return found(WEIGHT, node, f"runs in float: weight {text} is not quantised", fix)
    blocker = operand.blocker
    if blocker is not None and blocker.op_type == "Concat" and not concat_shares_scale(blocker):
        message = (
            f"runs in float: {name_of(blocker)} (Concat) joins tensors without a common scale"
        )
        return found(CONCAT, node, message, "give all inputs of the Concat the same scale")
    why = "" if blocker is None else f" behind {name_of(blocker)} ({blocker.op_type})"
    fix = "put a Q/DQ pair right before this input"
    return found(ACTIVATION, node, f"runs in float: {text} is not quantised{why}", fix)


def _computed_scale(node: ir.Node, operand: Operand) -> Finding:
    name = name_of(operand.dq) if operand.dq is not None else ""
    fix = "calibrate, and write the scale as a constant"
    if node.op_type == "Conv":
        return found(DYNAMIC_CONV, node, f"scale of {name} is computed at run time", fix)
    return found(DYNAMIC, node, f"runs in float: scale of {name} is computed at run time", fix)


def _check_axis(facts: Linted, node: ir.Node, operand: Operand, index: int) -> Iterator[Finding]:
    text = _text(operand)
    if operand.scale_rank > 1:
        message = f"blocks of {operand.dtype.name.lower() if operand.dtype else ''} in {text}"
        yield found(BLOCKS, node, message, "use one scale a channel, or 4-bit weights")
    elif operand.constant:
        wanted = channel_axis(facts, node, index)
        if operand.axis is not None and operand.axis != wanted:
            message = f"runs in float: scales of weight {text} lie along {_axis_text(operand)}"
            yield found(AXIS, node, message, f"quantise along axis {wanted}, or with one scale")
    elif node.op_type in _CONVOLUTIONS:
        if operand.scale_rank:
            shape = "a scale for each channel" if operand.axis is not None else "a scale of rank 1"
            fix = "use one scale, written as a scalar"
            yield found(PER_CHANNEL, node, f"runs in float: {text} has {shape}", fix)
    elif operand.axis is not None:
        inside = operand.axis != channel_axis(facts, node, index)
        message = f"{text} has scales along {_axis_text(operand)}"
        if inside:
            message = f"runs in float: {message}, which the product sums over"
        yield found(PER_CHANNEL if inside else PER_ROW, node, message, "use one scale")


def channel_axis(facts: Linted, node: ir.Node, index: int) -> int | None:
    """Return the axis of operand ``index`` that the product does not sum over, if it has one."""
    if node.op_type in _CONVOLUTIONS:
        return 0 if node.op_type == "Conv" else 1
    if node.op_type == "Gemm":
        flipped = node.attributes.get_int("transB" if index else "transA", 0) == 1
        return int(flipped != bool(index))
    shape = facts.shape(node.inputs[index])
    if shape is None or len(shape) < 2:
        return None
    return len(shape) - (1 if index else 2)


def _axis_text(operand: Operand) -> str:
    assert operand.axis is not None
    return f"axis {operand.axis}" if operand.axis >= 0 else "no single axis"


def _text(operand: Operand) -> str:
    return repr(operand.value.name)


CHECKS: tuple[Check, ...] = (check_products,)
