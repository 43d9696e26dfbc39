"""Nodes whose results nobody reads are removed."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import all_graphs, remove_dead, remove_unused_initializers


@dataclasses.dataclass(frozen=True)
class DropDead(Pass):
    """Remove nodes that no output depends on, in every graph, and initialisers left over.

    Control flow goes only as a whole; its inputs and outputs stay as they are. Graph inputs
    stay, read or not.
    """

    name: ClassVar[str] = "drop-dead"

    def call(self, model: ir.Model) -> Outcome:
        """Remove from the outputs backwards."""
        modified = False
        for graph in reversed(all_graphs(model)):
            before = len(graph)
            remove_dead(reversed(list(graph)))
            modified |= len(graph) != before
        modified |= remove_unused_initializers(model)
        return Outcome(model, modified=modified)
