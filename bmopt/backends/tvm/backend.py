"""TVM as a backend: artifacts are shared libraries that it compiles for one processor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.builder import TvmBuilder
from bmopt.backends.tvm.targets import HOST, compiler_for, device_for, package_of, why_not_run
from bmopt.core.backend import Executed
from bmopt.core.board import Board, BoardLink
from bmopt.core.capabilities import Capabilities
from bmopt.core.engine import BuildOptions, Kernel
from bmopt.core.host import Host, host_facts
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Runner
from bmopt.core.scheme import Scheme
from bmopt.core.target import Target
from bmopt.errors import HostError, TargetError


class TvmBackend:
    """TVM, for this host's processor and for others."""

    @property
    def builder(self) -> TvmBuilder:
        """What compiles its libraries."""
        return TvmBuilder()

    def probe(self, target: Target) -> Capabilities:
        """Say what can be done here; the graph that a library is compiled from always can be."""
        version = probe.version()
        if reason := probe.why_not():
            why = f"{reason}: the graph is made here, its library where TVM is"
            return Capabilities(True, run=False, build=False, reason=why, version=version)
        try:
            device = device_for(target.device, _host())
        except TargetError as error:
            return dataclasses.replace(Capabilities.none(str(error)), version=version)
        name = target.device or HOST
        no_run = why_not_run(name, device, _host())
        if not compiler_for(device, _host()):
            lacks = f"no {package_of(device)} here links for {name}"
            if not no_run:
                return Capabilities(True, run=False, build=False, reason=lacks, version=version)
            no_run = f"{no_run}; {lacks}: objects are made"
        reason = f"{no_run}: libraries are built here and run elsewhere" if no_run else ""
        return Capabilities(True, run=not no_run, reason=reason, version=version)

    def resolve(self, target: Target) -> Target:
        """Return ``target`` with this host's processor where it named none.

        Raises:
            TargetError: It names a tag that TVM does not know, or of a GPU.
        """
        if not target.device:
            return dataclasses.replace(target, device=HOST)
        if not probe.why_not():
            device_for(target.device, _host())
        return target

    def scheme(self, target: Target) -> Scheme:
        """Return how an 8-bit target wants its values.

        Raises:
            TargetError: It names a tag that TVM does not know, or of a GPU.
            HostError: It names a tag, and TVM is not installed to look it up.
        """
        from bmopt.backends.tvm.schemes import scheme_of

        return scheme_of(device_for(target.device, _host()).scheme)

    def open(
        self,
        path: Path,
        target: Target,
        *,
        threads: int = 0,
        options: BuildOptions | None = None,
    ) -> Runner:
        """Open a library in this process; ``options`` change nothing of how it runs.

        Raises:
            ArtifactError: The file is damaged.
            HostError: TVM is not installed, or the library is for another processor.
        """
        from bmopt.backends.tvm.runtime import open_library

        device = device_for(target.device, _host())
        if reason := why_not_run(target.device, device, _host()):
            raise HostError(f"{path}: {reason}")
        return open_library(path, threads=threads)

    def connect(self, board: Board, *, timeout_s: float) -> BoardLink:
        """Connect to a board that runs libraries; one connection at a time.

        Raises:
            BoardError: It cannot be reached, or does not answer within ``timeout_s`` seconds.
            HostError: TVM is not installed here.
        """
        from bmopt.backends.tvm.board_runner import TvmBoard

        return TvmBoard.connected(board, timeout_s=timeout_s)

    def explain(
        self, graph: Path, plan: QuantPlan, kernels: Sequence[Kernel]
    ) -> Sequence[Executed]:
        """Return how the nodes run that ``plan`` wants in 8 bits, from a build's ``kernels``."""
        from bmopt.backends.tvm.explain import explain

        return explain(plan, kernels)


def _host() -> Host:
    """Return this host's facts without its GPUs, which nothing here depends on."""
    return host_facts(query_gpus=str)
