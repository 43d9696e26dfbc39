"""Nodes of a graph run in torch, so that an error can be followed back to weights and biases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import onnx_ir as ir

from bmopt.differentiable.call import Call
from bmopt.differentiable.ops import OPS
from bmopt.differentiable.ops_quantize import steps_of
from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.graph.values import constant_array, is_op

Place = tuple[str, int]
"""A node's name and the index of one of its inputs."""


def unsupported(nodes: Sequence[ir.Node]) -> tuple[str, ...]:
    """Return the ops among ``nodes`` that have no counterpart here, each once, in order."""
    found: dict[str, None] = {}
    for node in nodes:
        if is_op(node, "Constant"):
            continue
        op = OPS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        several = sum(1 for value in node.outputs if value.name) != 1
        if op is None or (several and not op.has_several) or not op.fits(node):
            found[node.op_type] = None
    return tuple(found)


class Program:
    """Nodes in graph order.

    Args:
        torch: The torch module.
        nodes: None that ``unsupported`` returns.
        variables: Names of constants that every run is fed, as they change between runs.
        device: Where constants lie, and what is fed.
    """

    def __init__(
        self,
        torch: Torch,
        nodes: Sequence[ir.Node],
        *,
        variables: Collection[str] = (),
        device: str = "cpu",
    ) -> None:
        self._torch = torch
        self._nodes: list[ir.Node] = []
        self._constants: dict[str, Tensor] = {}
        for node in nodes:
            for value in node.inputs:
                array = None if value is None or value.name in variables else constant_array(value)
                if array is not None and value is not None:
                    self._constants[value.name or ""] = steps_of(torch, array).to(device)
            if is_op(node, "Constant"):
                continue
            if all(value is None or value.name in self._constants for value in node.inputs):
                self._compute(node, self._constants, {})
            else:
                self._nodes.append(node)
        self._read_last = _read_last(self._nodes)

    def run(
        self,
        feeds: Mapping[str, Tensor],
        replaced: Mapping[Place, Tensor],
        wanted: Sequence[str],
        *,
        is_training: bool = False,
        behind: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """Return the values ``wanted``.

        Args:
            feeds: What the nodes read and none of them computes.
            replaced: Tensors that a node reads in the place of its own input.
            wanted: Names of outputs of the nodes.
            is_training: Whether a BatchNormalization takes its statistics from the batch; the
                running ones that it was fed then follow them, in place.
            behind: Node -> what is done to its output before anything reads it.
        """
        known = {**self._constants, **feeds}
        kept = set(wanted)
        for node, done in zip(self._nodes, self._read_last, strict=True):
            self._compute(node, known, replaced, is_training=is_training)
            change = None if behind is None else behind.get(node.name or "")
            if change is not None:
                name = node.outputs[0].name or ""
                known[name] = change(known[name])
            for name in done - kept:
                del known[name]
        return {name: known[name] for name in wanted}

    def _compute(
        self,
        node: ir.Node,
        known: dict[str, Tensor],
        replaced: Mapping[Place, Tensor],
        *,
        is_training: bool = False,
    ) -> None:
        inputs = []
        for index, value in enumerate(node.inputs):
            instead = replaced.get((node.name or "", index))
            read = None if value is None else known[value.name or ""]
            inputs.append(read if instead is None else instead)
        op = OPS[node.op_type]
        found = op.run(Call(self._torch, node, inputs, is_training))
        several = found if op.has_several else (found,)
        names = [value.name or "" for value in node.outputs]
        known |= {name: one for name, one in zip(names, several, strict=False) if name}


def _read_last(nodes: Sequence[ir.Node]) -> list[set[str]]:
    """Return for every node what nothing behind it reads, of what the nodes compute."""
    last: dict[str, int] = {}
    for index, node in enumerate(nodes):
        last |= {out.name or "": index for out in node.outputs}
        last |= {v.name or "": index for v in node.inputs if v is not None and v.name in last}
    found: list[set[str]] = [set() for _ in nodes]
    for name, index in last.items():
        found[index].add(name)
    return found
