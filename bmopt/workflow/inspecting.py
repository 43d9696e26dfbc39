"""``bmopt inspect``: facts about a model, or about what an artifact's engine was built of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmopt.workflow.source import as_file

if TYPE_CHECKING:
    from bmopt.graph.facts import ModelFacts
    from bmopt.graph.sparsity import WeightSparsity


def inspect_model(source: Path, *, shapes: Sequence[str] = ()) -> ModelFacts:
    """Return the facts of ``source``, with numbers for the dynamic axes that ``shapes`` fix.

    Raises:
        ModelError: ``source`` is no model that can be run.
        UsageError: ``shapes`` does not fit.
    """
    from bmopt.graph.facts import model_facts
    from bmopt.graph.model_io import load_model
    from bmopt.workflow.shapes import parse_shapes

    with as_file(source) as path:
        usual = {name: profile.opt for name, profile in parse_shapes(shapes).items()}
        return model_facts(load_model(path), shapes=usual)


def inspect_sparsity(source: Path) -> tuple[WeightSparsity, ...]:
    """Return the zeros of the weights of ``source``: a model, or an artifact's.

    Raises:
        ModelError: ``source`` is no model.
        ArtifactError: It is a folder, and no artifact or a damaged one.
    """
    from bmopt.graph.model_io import load_model
    from bmopt.graph.sparsity import sparsity_of

    if source.is_dir():
        from bmopt.workflow.artifact import verified
        from bmopt.workflow.engines import MODEL

        verified(source)
        return sparsity_of(load_model(source / MODEL))
    with as_file(source) as path:
        return sparsity_of(load_model(path))


@dataclasses.dataclass(frozen=True)
class KernelFacts:
    """One kernel of an artifact's engine.

    Attributes:
        name: The engine's name for it.
        nodes: Names of the nodes of the original model that it stands for.
        reads: Element types of its activations.
        writes: Element types of what it writes.
        schedule: How its loops are arranged and where that comes from, or the engine's name for
            its implementation.
        ns: Its time in one inference in nanoseconds, where it was measured.
    """

    name: str
    nodes: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    schedule: str
    ns: float | None = None


@dataclasses.dataclass(frozen=True)
class ArtifactFacts:
    """What an artifact is.

    Attributes:
        path: Its folder.
        target: What it was compiled for.
        digest: SHA-256 (hex) of its files.
        engine: Name and version of the engine that was built; empty where the graph is run.
        devices: What the engine was built for.
        size_bytes: Of the engine file; 0 where there is none.
        kernels: Its kernels in the order in which they run.
        on_board: What was measured on a board, as in the report; None where nothing was.
    """

    path: str
    target: str
    digest: str
    engine: str
    devices: tuple[str, ...]
    size_bytes: int
    kernels: tuple[KernelFacts, ...]
    on_board: dict[str, Any] | None = None


def inspect_artifact(path: Path) -> ArtifactFacts:
    """Return the facts of the artifact folder ``path``, and what its report says of kernels.

    Raises:
        ArtifactError: It is none, or damaged.
    """
    from bmopt.bench.attribution import original_nodes
    from bmopt.graph.model_io import load_model
    from bmopt.graph.nesting import nodes_in
    from bmopt.workflow.artifact import read_report, verified
    from bmopt.workflow.engines import MODEL, read_engine

    manifest, target = verified(path)
    built = read_engine(path)
    report = read_report(path) or {}
    kernels = () if built is None else built.kernels
    nodes = {str(node.name): node for node in nodes_in(load_model(path / MODEL).graph)}
    times = [row["ns"] for row in report.get("functions") or ()]
    if len(times) != len(kernels):
        times = [None] * len(kernels)
    return ArtifactFacts(
        path=str(path),
        target=str(target),
        digest=str(manifest["digest"]),
        engine="" if built is None else f"{built.engine} {built.version}",
        devices=() if built is None else built.devices,
        size_bytes=0 if built is None else built.size_bytes,
        kernels=tuple(
            KernelFacts(
                one.name,
                original_nodes(one.nodes, nodes),
                tuple(dict.fromkeys(one.inputs)),
                tuple(dict.fromkeys(one.outputs)),
                ", ".join(filter(None, (one.tactic, one.schedule))),
                ns,
            )
            for one, ns in zip(kernels, times, strict=True)
        ),
        on_board=report.get("on_board"),
    )
