"""Ops and forms of ops that the parser refuses, whatever their precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from bmopt.backends.nvinfer.imported_ops import imports_op
from bmopt.backends.nvinfer.linted import Check, Linted, constant_of, found, input_of, name_of
from bmopt.core.finding import Finding, Rule

CONSTANT = Rule(
    "TRT008",
    "quantized-constant",
    "error",
    "Only DequantizeLinear reads 8-bit and 4-bit constants, and none is shared with a branch.",
)
QUANTIZED_OP = Rule(
    "TRT020",
    "quantized-op",
    "error",
    "Quantised models have Q/DQ nodes around float ops, no ops on integers.",
)
OP = Rule("TRT021", "unsupported-op", "error", "The parser imports every op.")
FORM = Rule("TRT022", "unsupported-form", "error", "Ops are used in a form that is imported.")

RULES = (CONSTANT, QUANTIZED_OP, OP, FORM)

_QUANTIZED_OPS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLinear",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulInteger16",
        "MatMulIntegerToFloat",
        "QAttention",
        "QEmbedLayerNormalization",
        "QGemm",
    }
)
_STORED_SMALL = (
    ir.DataType.INT8,
    ir.DataType.FLOAT8E4M3FN,
    ir.DataType.INT4,
    ir.DataType.FLOAT4E2M1,
)
_FLOAT_ONLY = frozenset({"Gemm", "MatMul", "Relu"})
_INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)


def check_ops(facts: Linted) -> Iterator[Finding]:
    """Yield ops without an importer; those on integers have a rule of their own."""
    functions = {(f.domain, f.name) for f in facts.model.functions.values()}
    for node in facts.nodes:
        if (node.domain, node.op_type) in functions or imports_op(
            facts.target.engine, node.op_type
        ):
            continue
        if _is_quantized_op(node.op_type):
            message = f"{node.op_type} computes on integers"
            fix = "quantise again, to Q/DQ nodes (quantize_static: QuantFormat.QDQ)"
            yield found(QUANTIZED_OP, node, message, fix)
        else:
            op = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            yield found(OP, node, f"{op} has no importer", _advice(node))


def _is_quantized_op(op_type: str) -> bool:
    return op_type in _QUANTIZED_OPS or op_type.startswith(("QLinear", "QOrdered"))


def _advice(node: ir.Node) -> str:
    if node.domain in ("", "ai.onnx"):
        return "replace it by other ops, or fold it if its inputs are constant (bmopt optimize)"
    return "export with standard ops, or write a plugin of that name"


def _has_indices(facts: Linted, node: ir.Node) -> str | None:
    used = len(node.outputs) > 1 and bool(node.outputs[1].name)
    return "returns indices" if used else None


def _is_training(facts: Linted, node: ir.Node) -> str | None:
    return "is in training mode" if node.attributes.get_int("training_mode", 0) else None


def _drops(facts: Linted, node: ir.Node) -> str | None:
    mode = constant_of(input_of(node, 2))
    return "is in training mode" if mode is not None and mode.numpy().any() else None


def _has_odd_rank(facts: Linted, node: ir.Node) -> str | None:
    shape = facts.shape(node.inputs[1])
    if shape is None or 3 <= len(shape) <= 5:
        return None
    return f"has {len(shape) - 2} spatial axes; 1 to 3 are supported"


def _reduces(facts: Linted, node: ir.Node) -> str | None:
    reduction = node.attributes.get_string("reduction", "none")
    return f"has reduction {reduction!r}" if reduction != "none" else None


_Form = Callable[[Linted, ir.Node], "str | None"]
_FORMS: dict[str, _Form] = {
    "BatchNormalization": _is_training,
    "Conv": _has_odd_rank,
    "ConvTranspose": _has_odd_rank,
    "Dropout": _drops,
    "MaxPool": _has_indices,
    "ScatterND": _reduces,
}


def check_forms(facts: Linted) -> Iterator[Finding]:
    """Yield ops in a form that has no importer."""
    for node in facts.nodes:
        form = _FORMS.get(node.op_type)
        problem = None if form is None else form(facts, node)
        if problem is None and node.op_type in _FLOAT_ONLY:
            dtype = facts.dtype(node.inputs[0])
            problem = f"computes in {dtype.name.lower()}" if dtype in _INTEGERS and dtype else None
        if problem is not None:
            yield found(FORM, node, f"{node.op_type} {problem}", "export the model for inference")


def check_constants(facts: Linted) -> Iterator[Finding]:
    """Yield readers of small constants that are no DequantizeLinear, or one too many."""
    seen: set[ir.Value] = set()
    for node in facts.nodes:
        for index, value in enumerate(node.inputs):
            if value is None or value in seen or (node.op_type in _QDQ and index == 2):
                continue
            tensor = constant_of(value)
            if tensor is None or tensor.dtype not in _STORED_SMALL:
                continue
            seen.add(value)
            yield from _check_readers(facts, value)


_QDQ = ("QuantizeLinear", "DequantizeLinear")


def _check_readers(facts: Linted, value: ir.Value) -> Iterator[Finding]:
    readers = [use.node for use in value.uses() if use.idx != 2 or use.node.op_type not in _QDQ]
    for node in readers:
        if node.op_type == "Identity" and _gives_zero_points(node):
            continue  # exporters share one zero point so
        if node.op_type != "DequantizeLinear" and not _is_quantized_op(node.op_type):
            message = f"{node.op_type} reads the quantised constant {value.name!r}"
            fix = "put the DequantizeLinear right behind the constant"
            yield found(CONSTANT, node, message, fix)
    inside = [node for node in readers if id(node) in facts.branched]
    if inside and len(readers) > 1:
        others = ", ".join(name_of(node) for node in readers if node is not inside[0])
        message = f"in a branch of an If, shares the constant {value.name!r} with {others}"
        yield found(CONSTANT, inside[0], message, "give each branch a constant of its own")


def _gives_zero_points(node: ir.Node) -> bool:
    return all(use.idx == 2 and use.node.op_type in _QDQ for use in node.outputs[0].uses())


CHECKS: tuple[Check, ...] = (check_ops, check_forms, check_constants)
