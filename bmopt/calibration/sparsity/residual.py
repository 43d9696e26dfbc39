"""What a product's output is added to: it can make up for what is off there as well."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from bmopt.graph.values import constant_tensor, is_op, only_consumer


@dataclasses.dataclass(frozen=True)
class Residual:
    """A sum of two activations, one of them a product's output.

    Attributes:
        node: The Add.
        other: What the output is added to.
    """

    node: ir.Node
    other: ir.Value


def residual_of(value: ir.Value) -> Residual | None:
    """Return the sum that alone reads ``value``, constants added before; None without one."""
    reader = only_consumer(value)
    while reader is not None and is_op(reader, "Add") and reader.graph is value.graph:
        other = reader.inputs[1 if reader.inputs[0] is value else 0]
        if other is None or other is value:
            return None
        if constant_tensor(other) is None:
            return Residual(reader, other)
        value = reader.outputs[0]
        reader = only_consumer(value)
    return None
