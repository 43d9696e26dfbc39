"""Models that are fed or return integers: their interface stays, in plain arithmetic."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.optimizer.imported.encodings import (
    ACTIVATION_TYPES,
    FLOAT8,
    LIMITS,
    Encoding,
    numpy_type,
    refuse,
    require_activation,
    type_of,
)
from bmopt.optimizer.imported.ledger import Ledger
from bmopt.optimizer.rewrite import add_constant, fresh_name, new_node, opset, root_graph

_ROUND_SINCE = 11


def real_of_fed(ledger: Ledger, node: ir.Node, integers: ir.Value, encoding: Encoding) -> ir.Value:
    """Return ``scale * (integers - zero)`` for integers that no node of the model quantised.

    Raises:
        QuantizationError: They are no bytes, so they are sums of products.
    """
    require_activation(node, encoding)
    if type_of(integers) not in ACTIVATION_TYPES:
        raise refuse(
            node, f"reads integers that are computed ({type_of(integers)})", "use Q/DQ nodes"
        )
    scale = add_constant(root_graph(node), f"{integers.name}_scale", encoding.scale)
    zero = np.array(encoding.zero, np.float32)
    real = new_node("Cast", [integers], like=node, attributes={"to": int(ir.DataType.FLOAT)})
    if zero:
        shift = add_constant(root_graph(node), f"{integers.name}_zero", zero)
        real = new_node("Sub", [real.outputs[0], shift], like=node)
    result = new_node("Mul", [real.outputs[0], scale], like=node).outputs[0]
    result.type, result.shape = ir.TensorType(ir.DataType.FLOAT), integers.shape
    ledger.lift(integers, result, encoding, node, written=False)
    if node.graph is not integers.graph:
        del ledger.lifted[integers]
    return result


def return_integers(ledger: Ledger) -> None:
    """Let outputs of graphs that are integers be computed from what they stand for.

    Raises:
        QuantizationError: The opset is older than Round.
    """
    done = set(ledger.done)
    for integers, lift in ledger.lifted.items():
        producer = integers.producer()
        if not integers.is_graph_output() or producer not in done:
            continue
        assert producer is not None
        if opset(ledger.model) < _ROUND_SINCE:
            raise refuse(
                producer, "writes integers at an opset without Round", "raise it to 11 or newer"
            )
        _return(integers, lift.value, lift.encoding, producer)


def _return(integers: ir.Value, real: ir.Value, encoding: Encoding, node: ir.Node) -> None:
    graph = root_graph(node)
    low, high = LIMITS[encoding.dtype]

    def constant(stem: str, number: object) -> ir.Value:
        return add_constant(graph, f"{integers.name}_{stem}", np.array(number, np.float32))

    def then(op_type: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        last = new_node(op_type, inputs, like=node, attributes=attributes).outputs[0]
        last.type, last.shape = ir.TensorType(ir.DataType.FLOAT), integers.shape
        return last

    result = then("Div", real, constant("scale", encoding.scale))
    if encoding.dtype != FLOAT8:  # to which the Cast rounds
        result = then("Round", result)
    if encoding.zero:
        result = then("Add", result, constant("zero", encoding.zero))
    result = then("Clip", result, constant("low", low), constant("high", high))
    dtype = ir.DataType.from_numpy(numpy_type(encoding.dtype))
    result = then("Cast", result, to=int(dtype))
    result.type = ir.TensorType(dtype)
    name = integers.name or ""
    integers.name = fresh_name(graph, f"{name}_integers")
    result.name = name
    graph.outputs[:] = [result if out is integers else out for out in graph.outputs]
