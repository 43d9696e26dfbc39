"""Raise a model to a newer opset, with ONNX's version converter."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from bmopt.errors import ModelError
from bmopt.graph.names import make_names_unique
from bmopt.graph.reborn import restore, same_interface
from bmopt.graph.runnable import schema_complaint
from bmopt.graph.stripped import stripped_proto


def raise_opset(model: ir.Model, to: int) -> ir.Model:
    """Return ``model`` at opset ``to`` of the standard domain; itself where it is that new.

    Names and declared shapes of inputs and outputs stay, big weights are shared with ``model``,
    and new nodes get the origins of those they stand for.

    Raises:
        ModelError: An op has no conversion, or the model has local functions, which the
            converter loses.
    """
    version = model.opset_imports[""]
    if version >= to:
        return model
    what = f"cannot be raised from opset {version} to {to}"
    if model.functions:
        raise ModelError(f"{what}: it has local functions; inline them first (inline-functions)")
    converted = _convert(model, to, what)
    _restore_weights(model, converted)
    if not same_interface(model, converted):
        raise ModelError(f"{what}: the conversion changed its inputs or outputs")
    restore(model, converted)
    make_names_unique(converted)
    return converted


def _convert(model: ir.Model, to: int, what: str) -> ir.Model:
    try:
        proto = onnx.version_converter.convert_version(stripped_proto(model), to)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{what}: {reason.rpartition('failed: ')[2]}") from error
    if (complaint := schema_complaint(proto)) is not None:
        raise ModelError(f"{what}: {complaint}")
    return ir.from_proto(proto)


def _restore_weights(source: ir.Model, converted: ir.Model) -> None:
    """Turn the inputs that stand for weights back into initialisers."""
    graph = converted.graph
    own = {value.name for value in source.graph.inputs}
    values = {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    graph.inputs[:] = [value for value in graph.inputs if value.name in own]
    for name, weight in source.graph.initializers.items():
        if (value := values.get(name)) is not None and weight.const_value is not None:
            value.const_value = weight.const_value
            graph.initializers.add(value)
