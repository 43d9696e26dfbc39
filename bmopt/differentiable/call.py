"""One node to be run in torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import onnx_ir as ir

from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.graph.values import constant_array


@dataclasses.dataclass(frozen=True)
class Call:
    """A node with what it reads.

    Attributes:
        torch: The torch module.
        node: The node.
        inputs: Its inputs; None where it has none.
        is_training: Whether statistics come from the batch, and running ones follow them.
    """

    torch: Torch
    node: ir.Node
    inputs: Sequence[Tensor | None]
    is_training: bool = False

    def integers(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """Return an attribute of whole numbers."""
        return [int(v) for v in self.node.attributes.get_ints(name, default)]

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is a whole number."""
        return int(self.node.attributes.get_int(name, default))

    def real(self, name: str, default: float) -> float:
        """Return an attribute that is a real number."""
        return float(self.node.attributes.get_float(name, default))

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is text."""
        return str(self.node.attributes.get_string(name, default))

    def constant(self, index: int) -> list[int] | None:
        """Return the whole numbers of a constant input, None where the node has not this one."""
        return constant_ints(self.node, index)

    def sizes(self, index: int) -> list[int]:
        """Return the whole numbers of an input, constant or computed; none where it is missing."""
        found = self.constant(index)
        if found is not None or not has_input(self.node, index):
            return found or []
        tensor = self.inputs[index]
        assert tensor is not None
        return [int(size) for size in tensor.reshape(-1).tolist()]


@dataclasses.dataclass(frozen=True)
class Op:
    """How an op runs.

    Attributes:
        run: Computes its output, or a tuple of them.
        fits: Whether a node of that op can be run.
        has_several: Whether it has more than one.
    """

    run: Callable[[Call], Tensor]
    fits: Callable[[ir.Node], bool] = lambda node: True
    has_several: bool = False


def has_input(node: ir.Node, index: int) -> bool:
    """Whether the node has this input."""
    return index < len(node.inputs) and node.inputs[index] is not None


def constant_ints(node: ir.Node, index: int) -> list[int] | None:
    """Return the whole numbers of a constant input, None where the node has not this one."""
    array = constant_array(node.inputs[index]) if has_input(node, index) else None
    return None if array is None else [int(v) for v in array.reshape(-1)]


def with_constants(*indices: int) -> Callable[[ir.Node], bool]:
    """Return whether the inputs of these indices are constant or missing, as a question."""

    def fits(node: ir.Node) -> bool:
        return all(
            constant_array(node.inputs[index]) is not None
            for index in indices
            if has_input(node, index)
        )

    return fits
