"""Decide the new element type of every float32 tensor, and what every reader wants of it."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from bmopt.graph.half_ports import HalfPorts
from bmopt.graph.nesting import nodes_in, subgraphs_of


class NewTypes:
    """The types after the conversion. Nothing is changed yet.

    Attributes:
        ports: The model's ports before it.
        wanted: Node and input index -> the type it reads there, for float32 tensors only.
        returned: Graph and output index -> the type it returns there, likewise.
    """

    def __init__(
        self, graph: ir.Graph, ports: HalfPorts, float_nodes: Collection[str], *, keep_io: bool
    ) -> None:
        self.ports = ports
        self.wanted: dict[tuple[ir.Node, int], ir.DataType] = {}
        self.returned: dict[tuple[ir.Graph, int], ir.DataType] = {}
        self._half: set[ir.Value] = set()
        self._float_nodes = float_nodes
        for node in nodes_in(graph):
            if subgraphs_of(node):
                self._take_control(node)
            elif ports.touches_float(node):
                self._take(node)
        self._take_interface(graph, ir.DataType.FLOAT if keep_io else ports.half.dtype)

    def of(self, value: ir.Value) -> ir.DataType | None:
        """Return the element type that ``value`` will have."""
        return self.ports.half.dtype if value in self._half else self.ports.dtype(value)

    @property
    def half_values(self) -> Collection[ir.Value]:
        """The float32 values that are to become half precision, constants left out."""
        return self._half

    def is_listed(self, node: ir.Node) -> bool:
        """Whether the plan keeps ``node`` in float32."""
        return node.name in self._float_nodes

    def is_half(self, node: ir.Node) -> bool:
        """Whether ``node`` is to compute in half precision."""
        return not self.is_listed(node) and self.ports.obstacle(node) is None

    def changes(self, node: ir.Node) -> bool:
        """Whether ``node`` reads or writes a tensor in another type than before."""
        reads = any(
            self.wanted.get((node, i)) == self.ports.half.dtype for i in range(len(node.inputs))
        )
        return reads or any(out in self._half for out in node.outputs)

    def _take(self, node: ir.Node) -> None:
        floats = [i for i, value in enumerate(node.inputs) if self.ports.is_float(value)]
        if not self.is_half(node):
            self.wanted |= {(node, i): ir.DataType.FLOAT for i in floats}
            return
        ports = self.ports.ports(node)
        self.wanted |= {(node, i): self.ports.half.dtype for i in ports.inputs}
        self.wanted |= {(node, i): ir.DataType.FLOAT for i in ports.float_inputs}
        self._half.update(node.outputs[i] for i in ports.outputs)

    def _take_control(self, node: ir.Node) -> None:
        """Everything that a node with bodies passes in and out is of one type."""
        half = self.is_half(node)
        dtype = self.ports.half.dtype if half else ir.DataType.FLOAT
        for index, value in enumerate(node.inputs):
            if self.ports.is_float(value):
                self.wanted[node, index] = dtype
        inner = [value for body in subgraphs_of(node) for value in body.inputs]
        if half:
            passed = (*inner, *node.outputs)
            self._half.update(value for value in passed if self.ports.is_float(value))
        for body in subgraphs_of(node):
            self._return(body, dtype)

    def _take_interface(self, graph: ir.Graph, dtype: ir.DataType) -> None:
        if dtype != ir.DataType.FLOAT:
            self._half.update(value for value in graph.inputs if self.ports.is_float(value))
        self._return(graph, dtype)

    def _return(self, graph: ir.Graph, dtype: ir.DataType) -> None:
        for index, value in enumerate(graph.outputs):
            if self.ports.is_float(value):
                self.returned[graph, index] = dtype
