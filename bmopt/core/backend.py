"""What an engine offers to the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import onnx_ir as ir

from bmopt.core.capabilities import Capabilities
from bmopt.core.engine import BuildOptions, EngineBuild, Kernel
from bmopt.core.plan import QuantPlan
from bmopt.core.profile import LayerProfile
from bmopt.core.runner import Feeds, Runner
from bmopt.core.scheme import Scheme
from bmopt.core.target import Target


@dataclasses.dataclass(frozen=True)
class Executed:
    """How an engine executes one node of the graph it was given.

    Attributes:
        node: The node's name.
        kernel: Op type or name of the kernel that does its work; ``"fused"`` where it is part of
            another, empty where it cannot be told.
        integer: Whether that kernel computes on 8-bit values.
        dtype: Element type that it computes on, empty where the engine does not tell.
    """

    node: str
    kernel: str
    integer: bool
    dtype: str = ""


class Reference(Protocol):
    """The engine on this host's CPU that checks, calibrates, and stands in for others."""

    def open_graph(self, path: Path, *, threads: int = 0, keep_qdq: bool = False) -> Runner:
        """Open an ``.onnx`` file with all of the engine's optimisations.

        With ``keep_qdq``, Q/DQ nodes round as they are written, rather than become kernels that
        compute in integers: what another engine will answer is seen, not what this one would.

        Raises:
            ModelError: The engine refuses it.
        """

    def ready(self) -> None:
        """Import the SDK, so that what opens a model next does no more than that."""

    def profile_graph(
        self, path: Path, feeds: Sequence[Feeds], *, threads: int = 0, seconds: float = 5.0
    ) -> LayerProfile:
        """Return where the time goes when an ``.onnx`` file runs as ``open_graph`` opens it.

        Raises:
            DataError: No feeds, or feeds that do not fit the model.
            ModelError: The engine refuses it.
        """

    def open_checked(self, model: ir.Model) -> Runner:
        """Open a model without the engine's own optimisations."""

    def open_tapped(self, model: ir.Model, *, threads: int = 1) -> Runner:
        """Open a model with many extra outputs; what a run returns is valid until the next."""


class Builder(Protocol):
    """Builds engine files from graphs."""

    @property
    def engine_file(self) -> str:
        """Name of the engine's file in an artifact, for example ``"engine.plan"``."""

    def build(
        self,
        graph: Path,
        out: Path,
        target: Target,
        options: BuildOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> EngineBuild:
        """Build the engine of the ``.onnx`` file ``graph`` into the file ``out``.

        ``progress`` is told (steps done, steps in all).

        Raises:
            BuildError: The engine refuses the model or the options; the message names the node.
            HostError: It cannot be built on this host.
            IsolatedToolError: The build died or ran out of time.
        """


class Backend(Protocol):
    """One engine. The only code that imports its SDK."""

    @property
    def builder(self) -> Builder | None:
        """What builds its engine files; None where it runs graphs."""

    def probe(self, target: Target) -> Capabilities:
        """Say whether artifacts for ``target`` can be made, built and run here, and why not."""

    def resolve(self, target: Target) -> Target:
        """Return ``target`` with its device filled in: this host's where it named none."""

    def scheme(self, target: Target) -> Scheme:
        """Return how a resolved 8-bit target wants its values."""

    def open(
        self,
        path: Path,
        target: Target,
        *,
        threads: int = 0,
        options: BuildOptions | None = None,
    ) -> Runner:
        """Open an engine file, or a graph where the engine runs graphs.

        ``options`` are those that the engine was built with, or is to be built with where the
        engine does so itself.

        Raises:
            ArtifactError: The engine file is damaged, or of another version or GPU.
            HostError: This host cannot run it.
            ModelError: The engine refuses the graph.
        """

    def explain(
        self, graph: Path, plan: QuantPlan, kernels: Sequence[Kernel]
    ) -> Sequence[Executed]:
        """Return how the nodes run that ``plan`` wants in 8 bits.

        ``kernels`` are a build's; an engine that runs graphs looks at what it made of ``graph``.
        """
