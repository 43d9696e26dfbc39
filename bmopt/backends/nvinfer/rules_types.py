"""Element types: which ones the engine has, and that networks are strongly typed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx
import onnx_ir as ir

from bmopt.backends.nvinfer.linted import Check, Linted, constant_of, found, name_of
from bmopt.core.finding import Finding, Rule

UNSUPPORTED = Rule(
    "TRT023",
    "unsupported-type",
    "error",
    "Tensors are float, float16, bfloat16, int8, int32, int64, bool, or uint8 at the outside.",
)
MIXED = Rule(
    "TRT024",
    "mixed-types",
    "error",
    "Networks are strongly typed: operands that ONNX wants of one type are.",
)
UINT8_INSIDE = Rule(
    "TRT025", "uint8-inside", "error", "uint8 is for inputs and outputs, next to a Cast."
)
FLOAT64 = Rule("TRT202", "float64", "note", "float64 is computed in float32.")

RULES = (UNSUPPORTED, MIXED, UINT8_INSIDE, FLOAT64)

_SUPPORTED = frozenset(
    {
        "BFLOAT16",
        "BOOL",
        "DOUBLE",
        "FLOAT",
        "FLOAT16",
        "FLOAT4E2M1",
        "FLOAT8E4M3FN",
        "FLOAT8E8M0",
        "INT32",
        "INT4",
        "INT64",
        "INT8",
        "UINT8",
    }
)
_CASTS = "export the model with float32 and int64 or int32 tensors"
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
_CONSTANTS_CONVERTED = frozenset({"BatchNormalization", "Clip", "Pad"})
"""Ops whose constants the parser converts to the type of their first input."""

_READS_UINT8 = frozenset({"Cast", "Gather", "MatMulNBits", "Shape", "Size", *_QDQ})


def check_supported(facts: Linted) -> Iterator[Finding]:
    """Yield inputs, constants and nodes of a type that the engine lacks."""
    graph = facts.model.graph
    for value in (*graph.inputs, *graph.initializers.values()):
        dtype = facts.dtype(value)
        if dtype is None or dtype.name in _SUPPORTED or _is_zero_point(value):
            continue
        kind = "input" if value.is_graph_input() else "constant"
        message = f"{kind} {value.name!r} is {dtype.name.lower()}"
        yield Finding(UNSUPPORTED, "", message, _CASTS)
    for node in facts.nodes:
        names = {d.name for d in map(facts.dtype, node.outputs) if d is not None}
        if node.op_type not in _QDQ and (lacking := names - _SUPPORTED):
            message = f"{node.op_type} makes {', '.join(sorted(lacking)).lower()}"
            yield found(UNSUPPORTED, node, message, _CASTS)


def _is_zero_point(value: ir.Value) -> bool:
    """Whether only Q/DQ nodes read it: what is wrong with its type is theirs."""
    uses = tuple(value.uses())
    return bool(uses) and all(use.node.op_type in _QDQ for use in uses)


def check_mixed(facts: Linted) -> Iterator[Finding]:
    """Yield nodes whose operands ONNX wants of one type, but are not."""
    versions = facts.model.opset_imports
    for node in facts.nodes:
        if node.op_type in _QDQ or node.domain not in ("", "ai.onnx"):
            continue
        schema = _schema(node.op_type, versions.get("", versions.get("ai.onnx", 1)))
        if schema is not None and (message := _mixture(facts, node, schema)) is not None:
            yield found(MIXED, node, message, "put a Cast before one of them")


def _schema(op_type: str, version: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op_type, version, "")
    except onnx.defs.SchemaError:
        return None


def _mixture(facts: Linted, node: ir.Node, schema: onnx.defs.OpSchema) -> str | None:
    """Return which types meet where the schema has one type variable."""
    first: dict[str, tuple[ir.DataType, ir.Value]] = {}
    for variable, value in zip(_variables(schema, len(node.inputs)), node.inputs, strict=False):
        dtype = facts.dtype(value)
        if value is None or dtype is None or _is_converted(node, value):
            continue
        dtype = ir.DataType.FLOAT if dtype == ir.DataType.DOUBLE else dtype
        other, where = first.setdefault(variable, (dtype, value))
        if other != dtype:
            names = f"{where.name!r} is {other.name.lower()}, {value.name!r} {dtype.name.lower()}"
            return f"{node.op_type} of two types: {names}"
    return None


def _is_converted(node: ir.Node, value: ir.Value) -> bool:
    return node.op_type in _CONSTANTS_CONVERTED and constant_of(value) is not None


def _variables(schema: onnx.defs.OpSchema, count: int) -> Sequence[str]:
    """Return the type variable of each of ``count`` inputs; a variadic one repeats if alike."""
    names = [str(formal.type_str) for formal in schema.inputs]
    last = schema.inputs[-1] if schema.inputs else None
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    if last is None or last.option != variadic or not last.is_homogeneous:
        return names
    return [*names, *[names[-1]] * max(0, count - len(names))]


def check_uint8(facts: Linted) -> Iterator[Finding]:
    """Yield nodes inside the graph that read or make uint8."""
    fix = "cast right behind the input, or right before the output"
    for node in facts.nodes:
        if node.op_type in _READS_UINT8 and not _makes_uint8(facts, node):
            continue
        reads = node.op_type not in _READS_UINT8 and any(
            facts.dtype(value) == ir.DataType.UINT8 for value in node.inputs
        )
        if _is_quantized(node):
            continue
        if reads or _makes_uint8(facts, node):
            yield found(UINT8_INSIDE, node, f"{node.op_type} on uint8 inside the graph", fix)


def _makes_uint8(facts: Linted, node: ir.Node) -> bool:
    if node.op_type in ("Constant", "Gather", *_QDQ):
        return False
    return any(
        facts.dtype(value) == ir.DataType.UINT8 and not value.is_graph_output()
        for value in node.outputs
    )


def _is_quantized(node: ir.Node) -> bool:
    """Whether its uint8 comes from a QuantizeLinear, or it is an op on integers."""
    makers = [value.producer() for value in node.inputs if value is not None]
    quantized = any(maker is not None and maker.op_type == "QuantizeLinear" for maker in makers)
    return quantized or node.op_type.startswith(("QLinear", "DynamicQuantize", "Conv", "MatMul"))


def check_float64(facts: Linted) -> Iterator[Finding]:
    """Yield one note if anything is float64."""
    graph = facts.model.graph
    values = [
        *graph.inputs,
        *graph.initializers.values(),
        *(o for n in facts.nodes for o in n.outputs),
    ]
    doubles = [value for value in values if facts.dtype(value) == ir.DataType.DOUBLE]
    if doubles:
        maker = doubles[0].producer()
        message = f"{len(doubles)} tensors are float64, {doubles[0].name!r} is the first"
        node = "" if maker is None else name_of(maker)
        yield Finding(FLOAT64, node, message, "cast to float32 if the results are to be equal")


CHECKS: tuple[Check, ...] = (check_supported, check_mixed, check_uint8, check_float64)
