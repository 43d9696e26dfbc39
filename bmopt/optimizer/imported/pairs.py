"""QuantizeLinear and DequantizeLinear: what they do to constants and to activations."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.graph.values import only_consumer
from bmopt.optimizer.imported.boundaries import real_of_fed
from bmopt.optimizer.imported.encodings import (
    Encoding,
    read_encoding,
    refuse,
    require_fit,
    type_name,
    type_of,
)
from bmopt.optimizer.imported.ledger import Ledger
from bmopt.optimizer.rewrite import (
    add_constant,
    can_bypass,
    new_node,
    replace_output,
    root_graph,
)

_DOMAINS = ("", "ai.onnx", "com.microsoft")


def is_quantize(node: ir.Node) -> bool:
    """Whether ``node`` is a QuantizeLinear of ONNX or ONNX Runtime."""
    return node.op_type == "QuantizeLinear" and node.domain in _DOMAINS


def is_dequantize(node: ir.Node) -> bool:
    """Whether ``node`` is a DequantizeLinear of ONNX or ONNX Runtime."""
    return node.op_type == "DequantizeLinear" and node.domain in _DOMAINS


def lift_quantize(ledger: Ledger, node: ir.Node) -> None:
    """Take the integers of a QuantizeLinear for what it reads; round a constant for good."""
    output = node.outputs[0]
    encoding = _encoding(ledger, node, _quantized_type(node))
    ledger.done.append(node)
    array = ledger.known(node.inputs[0])
    if array is not None and not output.is_graph_output():
        require_fit(node, encoding, array)
        integers = encoding.quantized(array)
        constant = add_constant(root_graph(node), f"{output.name}_constant", integers)
        output.replace_all_uses_with(constant)
        return
    real = node.inputs[0]
    assert real is not None
    ledger.lift(output, real, encoding, node)


def lift_dequantize(ledger: Ledger, node: ir.Node) -> None:
    """Replace the result of a DequantizeLinear by the real tensor that its integers stand for.

    Raises:
        QuantizationError: Its scale is not the one that the integers were made with.
    """
    integers, output = node.inputs[0], node.outputs[0]
    assert integers is not None
    ledger.done.append(node)
    array = ledger.known(integers)
    if array is not None:
        encoding = _encoding(ledger, node, type_name(array.dtype))
        real = ledger.constant(node, array, encoding, f"{output.name}_constant")
    else:
        encoding = _encoding(ledger, node, _lifted_type(ledger, integers))
        real = real_of(ledger, node, integers, encoding)
    readers = {use.node for use in output.uses()}
    if array is None and len(readers) == 1 and only_consumer(integers) is node:
        ledger.chained.update(reader for reader in readers if is_quantize(reader))
    if not can_bypass(output, real):
        real = new_node("Identity", [real], like=node).outputs[0]
    replace_output(output, real)


def real_of(ledger: Ledger, node: ir.Node, integers: ir.Value, encoding: Encoding) -> ir.Value:
    """Return the real tensor behind the integers that ``node`` reads as ``encoding``.

    Raises:
        QuantizationError: The integers were made with another scale, or are computed.
    """
    lift = ledger.lifted.get(integers)
    if lift is None:
        return real_of_fed(ledger, node, integers, encoding)
    if not lift.encoding.agrees(encoding):
        raise refuse(
            node, "reads integers at another scale than they were written", "let both share one"
        )
    return lift.value


def _encoding(ledger: Ledger, node: ir.Node, dtype: str | None) -> Encoding:
    axis = node.attributes.get_int("axis", 1)
    return read_encoding(ledger.model, node, scale=1, dtype=dtype, axis=axis)


def _quantized_type(node: ir.Node) -> str:
    declared = ir.DataType(node.attributes.get_int("output_dtype", 0))
    return "uint8" if declared == ir.DataType.UNDEFINED else type_name(declared.numpy())


def _lifted_type(ledger: Ledger, integers: ir.Value) -> str | None:
    lift = ledger.lifted.get(integers)
    return type_of(integers) if lift is None else lift.encoding.dtype
