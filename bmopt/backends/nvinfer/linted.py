"""What the linter's rules look at: a model with its types, and questions to its values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import onnx_ir as ir

from bmopt.core.finding import Finding, Rule
from bmopt.core.target import Target
from bmopt.errors import ModelError
from bmopt.graph.concrete_values import KnownValue, concrete_values
from bmopt.graph.nesting import nodes_in, subgraphs_of

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Linted:
    """A model under the linter.

    Attributes:
        model: The model, which rules only read.
        target: What it is to run on.
        known: Types and shapes by value name, with dynamic axes of size 1.
        nodes: Every node, those in control-flow bodies and in local functions too.
        branched: Ids of the nodes inside a branch of an If.
    """

    model: ir.Model
    target: Target
    known: Mapping[str, KnownValue]
    nodes: tuple[ir.Node, ...]
    branched: frozenset[int]

    def dtype(self, value: ir.Value | None) -> ir.DataType | None:
        """Return the element type of ``value``, None where it is not known."""
        if value is None:
            return None
        if (tensor := constant_of(value)) is not None:
            return tensor.dtype
        known = self.known.get(value.name or "")
        dtype = value.dtype if known is None else known.dtype
        return None if dtype == ir.DataType.UNDEFINED else dtype

    def shape(self, value: ir.Value | None) -> Shape | None:
        """Return the shape of ``value`` with dynamic axes as 1, None where it is not known."""
        if value is None:
            return None
        if (tensor := constant_of(value)) is not None:
            return tuple(int(size) for size in tensor.shape.numpy())
        known = self.known.get(value.name or "")
        return None if known is None else known.shape

    def of(self, *op_types: str) -> Iterator[ir.Node]:
        """Yield the nodes of these ops, of any domain: the parser goes by the op's name alone."""
        return (node for node in self.nodes if node.op_type in op_types)


Check = Callable[[Linted], Iterator[Finding]]


def linted(model: ir.Model, target: Target) -> Linted:
    """Return ``model`` with what can be inferred about it."""
    try:
        known = concrete_values(model)
    except ModelError:
        known = {}  # rules then see the types that the file declares
    functions = [node for function in model.functions.values() for node in nodes_in(function)]
    nodes = (*nodes_in(model.graph), *functions)
    branched = frozenset(
        id(inner)
        for node in nodes
        if node.op_type == "If"
        for branch in subgraphs_of(node)
        for inner in nodes_in(branch)
    )
    return Linted(model, target, known, nodes, branched)


def name_of(node: ir.Node) -> str:
    """Return the node's name, or that of its first output."""
    return node.name or (node.outputs[0].name if node.outputs else "") or node.op_type


def found(rule: Rule, node: ir.Node, message: str, fix: str) -> Finding:
    """Return a finding at ``node``."""
    return Finding(rule, name_of(node), message, fix)


def input_of(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input, None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def constant_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the tensor behind ``value``; the default of an input counts, as for the parser."""
    return None if value is None else ir.convenience.get_const_tensor(value)


def is_computed_from_constants(value: ir.Value | None) -> bool:
    """Whether the engine can compute ``value`` when it is built."""
    stack, seen = [value], set[int]()
    while stack:
        current = stack.pop()
        if current is None or constant_of(current) is not None or id(current) in seen:
            continue
        seen.add(id(current))
        node = current.producer()
        if node is None or not node.inputs or subgraphs_of(node):
            return False
        stack.extend(node.inputs)
    return True
