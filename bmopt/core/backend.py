"""What an engine offers to the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import onnx_ir as ir

from bmopt.core.capabilities import Capabilities
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Runner
from bmopt.core.scheme import Scheme
from bmopt.core.target import Target


@dataclasses.dataclass(frozen=True)
class Executed:
    """How an engine executes one node of the graph it was given.

    Attributes:
        node: The node's name.
        kernel: Op type of the kernel that does its work; ``"fused"`` where it is part of another.
        integer: Whether that kernel computes on integers.
    """

    node: str
    kernel: str
    integer: bool


class Backend(Protocol):
    """One engine. The only code that imports its SDK."""

    def probe(self, target: Target) -> Capabilities:
        """Say whether artifacts for ``target`` can be made and run here, and why not."""

    def resolve(self, target: Target) -> Target:
        """Return ``target`` with its device filled in: this host's where it named none."""

    def scheme(self, target: Target) -> Scheme:
        """Return how a resolved INT8 target wants its integers."""

    def open(self, path: Path, *, threads: int = 0) -> Runner:
        """Open a compiled graph as it will be deployed."""

    def open_checked(self, model: ir.Model) -> Runner:
        """Open a model without the engine's own optimisations."""

    def open_tapped(self, model: ir.Model, *, threads: int = 1) -> Runner:
        """Open a model with many extra outputs; what a run returns is valid until the next."""

    def explain(self, path: Path, plan: QuantPlan) -> Sequence[Executed]:
        """Return how the engine runs the nodes that ``plan`` wants in integers."""
