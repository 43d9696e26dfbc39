"""What single GPUs lack, and what TensorRT-RTX has no 8-bit kernel for."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from bmopt.backends.nvinfer.linted import Check, Linted, found, name_of
from bmopt.backends.nvinfer.rules_products import product_operands
from bmopt.core.finding import Finding, Rule
from bmopt.core.target import QUANTIZED, Target

TYPE = Rule(
    "TRT026",
    "device-lacks-type",
    "error",
    "float8 needs sm89 or later, bfloat16 sm80 or later, float4 sm120 or later.",
)
TURING_GEMM = Rule(
    "TRT027",
    "turing-float32",
    "error",
    "On sm75, matrix products and 3-D convolutions are in float16.",
)
DECONVOLUTION = Rule(
    "TRT110",
    "float-deconvolution",
    "warning",
    "TensorRT-RTX runs every ConvTranspose in float.",
)
TURING_CONVOLUTION = Rule(
    "TRT111", "turing-convolution", "warning", "On sm75, TensorRT-RTX runs every Conv in float."
)

RULES = (TYPE, TURING_GEMM, DECONVOLUTION, TURING_CONVOLUTION)

_FIRST_SM = {
    ir.DataType.BFLOAT16: 80,
    ir.DataType.FLOAT8E4M3FN: 89,
    ir.DataType.FLOAT4E2M1: 120,
}
_TURING = "sm75"


def check_types(facts: Linted) -> Iterator[Finding]:
    """Yield, for each type, the first tensor that a device of the target has no type for."""
    values = [*facts.model.graph.inputs, *(o for node in facts.nodes for o in node.outputs)]
    for dtype, first in _FIRST_SM.items():
        lacking = [device for device in facts.target.devices if _sm(device) < first]
        value = next((v for v in values if lacking and facts.dtype(v) == dtype), None)
        if value is not None:
            maker = value.producer()
            message = f"{dtype.name.lower()} tensor {value.name!r}, which {lacking[0]} lacks"
            fix = f"choose another precision, or build for sm{first} and later"
            yield Finding(TYPE, "" if maker is None else name_of(maker), message, fix)


def _sm(device: str) -> int:
    digits = device.removeprefix("sm")
    return int(digits) if digits.isdigit() else 1000


def check_turing(facts: Linted) -> Iterator[Finding]:
    """Yield what sm75 refuses in float32."""
    if _TURING not in facts.target.devices:
        return
    for node in facts.of("Gemm", "MatMul", "Einsum", "Conv"):
        is_float = facts.dtype(node.outputs[0]) == ir.DataType.FLOAT
        volume = node.op_type != "Conv" or len(facts.shape(node.inputs[1]) or ()) == 5
        if is_float and volume:
            message = f"{node.op_type} in float32, which sm75 has no kernel for"
            yield found(TURING_GEMM, node, message, _halving(facts.target))


def _halving(target: Target) -> str:
    if target.precision in QUANTIZED:
        return "make the float side float16 (--float fp16)"
    return f"compile it for {target.engine}-fp16, without --keep-float for this node"


def check_kernels(facts: Linted) -> Iterator[Finding]:
    """Yield quantised convolutions that TensorRT-RTX runs in float all the same."""
    if facts.target.engine != "rtx":
        return
    for node in facts.of("ConvTranspose", "Conv"):
        deconvolution = node.op_type == "ConvTranspose"
        if not deconvolution and _TURING not in facts.target.devices:
            continue
        operands = product_operands(facts, node)
        if len(operands) == 2 and all(operand.eight_bits for operand in operands):
            where = "" if deconvolution else " on sm75"
            message = f"runs in float{where}: TensorRT-RTX has no 8-bit {node.op_type} there"
            rule = DECONVOLUTION if deconvolution else TURING_CONVOLUTION
            yield found(rule, node, message, f"drop its Q/DQ pairs (--keep-float {name_of(node)})")


CHECKS: tuple[Check, ...] = (check_types, check_turing, check_kernels)
