"""Which provider of ONNX Runtime runs which node, as the session itself tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from bmopt.backends.onnxruntime.gpu_session import RECORD_ASSIGNMENT, open_gpu
from bmopt.backends.onnxruntime.libraries import PROVIDERS
from bmopt.backends.onnxruntime.session import SessionConfig, open_file
from bmopt.core.engine import BuildOptions
from bmopt.core.target import Target


@dataclasses.dataclass(frozen=True)
class Assignment:
    """Providers and their nodes, as ONNX Runtime cut the graph up.

    Attributes:
        wanted: The provider that was asked for.
        nodes: Provider -> names of its nodes in graph order; empty where this version of ONNX
            Runtime does not tell. A node that ONNX Runtime merged into another before it cut the
            graph up is missing.
    """

    wanted: str
    nodes: Mapping[str, tuple[str, ...]]

    @property
    def fallbacks(self) -> Mapping[str, str]:
        """Node that another provider than the wanted one runs -> that provider."""
        return {
            node: provider
            for provider, nodes in self.nodes.items()
            if provider != self.wanted
            for node in nodes
        }

    def provider_of(self, node: str) -> str:
        """Return the provider that runs ``node``; empty where it cannot be told."""
        found = (provider for provider, nodes in self.nodes.items() if node in nodes)
        return next(found, "")


def assignment(path: Path, target: Target, *, build: BuildOptions | None = None) -> Assignment:
    """Open an ``.onnx`` file for ``target`` and return how ONNX Runtime cut it up.

    Raises:
        HostError: This host cannot run it.
        ModelError: ONNX Runtime refuses it.
    """
    if target.device in PROVIDERS:
        with open_gpu(path, target.device, build=build) as runner:
            return read_assignment(runner.session, PROVIDERS[target.device][0])
    with open_file(path, SessionConfig(threads=1, entries=RECORD_ASSIGNMENT)) as runner:
        return read_assignment(runner.session, "CPUExecutionProvider")


def read_assignment(session: ort.InferenceSession, wanted: str) -> Assignment:
    """Return the assignment of a session that was opened with ``RECORD_ASSIGNMENT``."""
    nodes: dict[str, tuple[str, ...]] = {}
    # Versions before 1.24 do not have it.
    tell = getattr(session, "get_provider_graph_assignment_info", list)
    for group in tell():
        names = tuple(node.name for node in group.get_nodes())
        nodes[group.ep_name] = (*nodes.get(group.ep_name, ()), *names)
    return Assignment(wanted, nodes)
