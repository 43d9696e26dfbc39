"""Ops of ONNX and ONNX Runtime that compute on integers, as their float ops.

Inputs and their meaning as in the operator documents of ONNX (QLinearConv, QLinearMatMul) and of
ONNX Runtime (domain com.microsoft).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from bmopt.optimizer.imported.encodings import Encoding, read_encoding, refuse, type_of
from bmopt.optimizer.imported.ledger import Ledger
from bmopt.optimizer.imported.movers import float_twin
from bmopt.optimizer.imported.pairs import real_of
from bmopt.optimizer.rewrite import opset, replace_output

_MICROSOFT = "com.microsoft"


@dataclasses.dataclass(frozen=True)
class Form:
    """Where the parts of an integer op are. A scale and a zero point follow every operand.

    Attributes:
        op_type: The float op.
        operands: Indices of the integer operands.
        scale: Index of the scale of the result.
        bias: Index of an int32 bias whose scale is that of the products.
        plain: Indices of inputs that are no integers to be scaled.
    """

    op_type: str
    operands: tuple[int, ...]
    scale: int
    bias: int | None = None
    plain: tuple[int, ...] = ()


_STANDARD = {
    "QLinearConv": Form("Conv", (0, 3), 6, bias=8),
    "QLinearMatMul": Form("MatMul", (0, 3), 6),
}
_RUNTIME = {
    "QGemm": Form("Gemm", (0, 3), 7, bias=6),
    "QLinearAdd": Form("Add", (0, 3), 6),
    "QLinearAveragePool": Form("AveragePool", (0,), 3),
    "QLinearConv": _STANDARD["QLinearConv"],
    "QLinearGlobalAveragePool": Form("GlobalAveragePool", (0,), 3),
    "QLinearLeakyRelu": Form("LeakyRelu", (0,), 3),
    "QLinearMul": Form("Mul", (0, 3), 6),
    "QLinearSigmoid": Form("Sigmoid", (0,), 3),
    "QLinearSoftmax": Form("Softmax", (0,), 3),
    "QLinearWhere": Form("Where", (1, 4), 7, plain=(0,)),
}
_DYNAMIC = frozenset(
    {"ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger"}
)
_OTHERS = frozenset({"MatMulIntegerToFloat", "MatMulNBits", "QAttention", "GatherBlockQuantized"})


def form_of(node: ir.Node) -> Form | None:
    """Return the form of an op that computes on integers and has a float twin, else None."""
    if node.domain == _MICROSOFT:
        if node.op_type == "QLinearConcat":
            return Form("Concat", tuple(range(2, len(node.inputs), 3)), 0)
        return _RUNTIME.get(node.op_type)
    return _STANDARD.get(node.op_type) if node.domain in ("", "ai.onnx") else None


def refuse_op(node: ir.Node) -> None:
    """Raise ``QuantizationError`` if ``node`` computes on integers and has no float twin."""
    if node.op_type in _DYNAMIC:
        raise refuse(
            node, "quantises at run time", "quantise statically, or compile the float model"
        )
    if node.op_type in _OTHERS or node.op_type.startswith("QLinear"):
        raise refuse(
            node, "has no float op to be replaced by", "compile the model it was quantised from"
        )


def lift_operator(ledger: Ledger, node: ir.Node, form: Form) -> None:
    """Replace an op on integers by its float op, whose result the integers stand for.

    Raises:
        QuantizationError: It has a layout or meaning that the float op has not.
    """
    _check_attributes(ledger, node)
    inputs = [node.inputs[index] for index in form.plain]
    encodings = [_operand_encoding(ledger, node, index) for index in form.operands]
    for index, encoding in zip(form.operands, encodings, strict=True):
        inputs.append(_operand(ledger, node, index, encoding))
    if form.bias is not None and _present(node, form.bias):
        inputs.append(_bias(ledger, node, form.bias, encodings))
    twin = float_twin(ledger, node, form.op_type, inputs, _attributes(node))
    if _present(node, form.scale):
        written = read_encoding(ledger.model, node, scale=form.scale, dtype=encodings[0].dtype)
        ledger.lift(node.outputs[0], twin.outputs[0], written, node)
    else:
        replace_output(node.outputs[0], twin.outputs[0])


def _present(node: ir.Node, index: int) -> bool:
    return index < len(node.inputs) and node.inputs[index] is not None


def _operand_encoding(ledger: Ledger, node: ir.Node, index: int) -> Encoding:
    value = node.inputs[index]
    lift = None if value is None else ledger.lifted.get(value)
    dtype = type_of(value) if lift is None else lift.encoding.dtype
    axis = _weight_axis(node)
    return read_encoding(ledger.model, node, scale=index + 1, dtype=dtype, axis=axis)


def _weight_axis(node: ir.Node) -> int:
    if node.op_type == "QLinearConv":
        return 0
    transposed = node.op_type == "QGemm" and bool(node.attributes.get_int("transB", 0))
    return 0 if transposed else -1


def _operand(ledger: Ledger, node: ir.Node, index: int, encoding: Encoding) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    integers = ledger.known(value)
    if integers is None:
        return real_of(ledger, node, value, encoding)
    return ledger.constant(node, integers, encoding, f"{value.name}_real")


def _bias(ledger: Ledger, node: ir.Node, index: int, encodings: list[Encoding]) -> ir.Value:
    integers = ledger.known(node.inputs[index])
    if integers is None:
        raise refuse(node, "reads a bias that is computed", "quantise a constant bias")
    scale = encodings[0].scale * encodings[1].scale
    if node.op_type == "QGemm":
        scale = scale * np.float32(node.attributes.get_float("alpha", 1.0))
    scale = np.asarray(scale, np.float32)
    axis = -1 if scale.ndim else None
    encoding = Encoding("int32", scale, np.zeros(scale.shape, np.int64), axis)
    return ledger.constant(node, integers, encoding, f"{node.name}_bias")


def _check_attributes(ledger: Ledger, node: ir.Node) -> None:
    if node.attributes.get_int("channels_last", 0):
        raise refuse(node, "has its channels last", "export the model in channels-first layout")
    if node.op_type == "QLinearSoftmax":
        meant = node.attributes.get_int("opset", opset(ledger.model))
        if (meant >= 13) != (opset(ledger.model) >= 13):
            raise refuse(node, f"is a Softmax of opset {meant}", "export the model again")


def _attributes(node: ir.Node) -> dict[str, ir.Attr]:
    dropped = {"channels_last"} | ({"opset"} if node.op_type == "QLinearSoftmax" else set())
    return {k: v for k, v in node.attributes.items() if k not in dropped}
