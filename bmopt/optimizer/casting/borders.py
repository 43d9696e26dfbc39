"""Give readers a tensor in the type they want: a Cast at a border, or a copy of a constant."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.graph.origin import merge_origin, origin_of
from bmopt.graph.values import constant_tensor, producer_of
from bmopt.optimizer.casting.new_types import NewTypes
from bmopt.optimizer.rewrite import add_constant, fresh_name


class Borders:
    """Makes one Cast per value and type, and one half-precision copy per constant.

    Args:
        graph: The main graph.
        types: The model's types before and after the conversion.
    """

    def __init__(self, graph: ir.Graph, types: NewTypes) -> None:
        self._graph = graph
        self._types = types
        self._half = types.ports.half
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def converted(
        self, value: ir.Value, to: ir.DataType, reader: ir.Node | None = None
    ) -> ir.Value:
        """Return ``value`` in the type ``to``, which is not its own.

        A Cast takes the origin of its producer, without one that of ``reader``.
        """
        upcast = producer_of(value, "Cast")
        source = None if upcast is None else upcast.inputs[0]
        if source is not None and self._types.of(source) == to:
            return source
        return self.output(value, to, reader)

    def output(self, value: ir.Value, to: ir.DataType, reader: ir.Node | None = None) -> ir.Value:
        """Do the same with a value that no other node made: it can take a public name."""
        if (value, to) not in self._made:
            tensor = constant_tensor(value)
            self._made[value, to] = (
                self._cast(value, to, reader)
                if tensor is None or to != self._half.dtype
                else self._copy(value, tensor)
            )
        return self._made[value, to]

    def _copy(self, value: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
        array = self._half.saturate(tensor.numpy())
        return add_constant(self._home(value), f"{value.name}_{self._half.name}", array)

    def _cast(self, value: ir.Value, to: ir.DataType, reader: ir.Node | None) -> ir.Value:
        graph, producer = self._home(value), value.producer()
        name = fresh_name(graph, f"{value.name}_{to.name.lower()}")
        attributes = {"to": ir.AttrInt64("to", int(to))}
        node = ir.node("Cast", [value], attributes, name=fresh_name(graph, f"{name}_cast"))
        result = node.outputs[0]
        result.name, result.shape, result.type = name, value.shape, ir.TensorType(to)
        merge_origin(node, [n for n in (producer, reader) if n is not None and origin_of(n)][:1])
        if producer is not None:
            graph.insert_after(producer, node)
        elif len(graph):
            graph.insert_before(graph[0], node)
        else:
            graph.append(node)
        return result

    def _home(self, value: ir.Value) -> ir.Graph:
        """Return the graph in which ``value`` is made."""
        producer = value.producer()
        graph = value.graph if producer is None else producer.graph
        return graph if isinstance(graph, ir.Graph) else self._graph
