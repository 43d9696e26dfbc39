"""Ops that ONNX itself defines by a function of other ops."""

from __future__ import annotations

from typing import Any

import onnx
import onnx.defs
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from bmopt.optimizer.rewrite import fresh_name
from bmopt.optimizer.sweeps import RefusedError

DEFINED = frozenset(
    {
        "Attention",
        "BlackmanWindow",
        "CausalConvWithState",
        "CenterCropPad",
        "HammingWindow",
        "HannWindow",
        "LinearAttention",
        "NegativeLogLikelihoodLoss",
        "RotaryEmbedding",
        "SoftmaxCrossEntropyLoss",
        "SwiGLU",
    }
)
"""Ops of the standard domain that are written as their definition has them."""


def expand_definition(model: ir.Model, node: ir.Node, version: int) -> bool:
    """Replace ``node`` by the nodes of its definition in the ONNX standard.

    Raises:
        RefusedError: There is none for the model's opset or for the node's types.
    """
    schema = onnx.defs.get_schema(node.op_type, version, "")
    function = _function(schema, node, version)
    key = function.identifier()
    for attribute in schema.attributes.values():
        default = attribute.default_value
        if attribute.name not in node.attributes and default.type != onnx.AttributeProto.UNDEFINED:
            node.attributes.add(ir.serde.deserialize_attribute(default))
    graph = node.graph
    assert graph is not None
    before = set(graph)
    model.functions[key] = function
    try:
        InlinePass(lambda one: one.identifier() == key)(model)
    finally:
        model.functions.pop(key, None)
    for new in (one for one in graph if one not in before):
        new.name = fresh_name(graph, new.name or new.op_type)
    return True


def _function(schema: Any, node: ir.Node, version: int) -> ir.Function:  # noqa: ANN401 - ONNX's
    if schema.has_context_dependent_function:
        types = [_type(value) for value in node.inputs]
        text = schema.get_context_dependent_function(
            ir.to_proto(node).SerializeToString(), [one.SerializeToString() for one in types]
        )
    elif schema.has_function:
        usable = [one for one in schema.function_opset_versions if one <= version]
        text = schema.get_function_with_opset_version(max(usable)) if usable else b""
    else:
        text = b""
    proto = onnx.FunctionProto()
    proto.ParseFromString(text)
    if not proto.node:
        raise RefusedError("has no definition for these types")
    proto.name, proto.domain = node.op_type, node.domain
    made = {name for one in proto.node for name in one.output}
    given = proto.output[: len(node.outputs)]
    if not made.issuperset(given):
        raise RefusedError("has an output that its definition lacks")
    # Outputs that are left out are not computed, but are listed.
    del proto.output[:]
    proto.output.extend(given)
    for one in proto.opset_import:
        one.version = version if one.domain == "" else one.version
    return ir.serde.deserialize_function(proto)


def _type(value: ir.Value | None) -> onnx.TypeProto:
    kind = onnx.TypeProto()
    if value is None:
        return kind
    if value.dtype is None:
        raise RefusedError(f"reads {value.name!r}, whose type is unknown")
    kind.tensor_type.elem_type = int(value.dtype)
    if value.shape is not None:
        for axis in value.shape:
            dim = kind.tensor_type.shape.dim.add()
            if isinstance(axis, int):
                dim.dim_value = axis
    return kind
