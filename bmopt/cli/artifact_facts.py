"""What ``bmopt inspect`` prints of an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmopt.cli.board_summary import print_on_board
from bmopt.cli.output import print_table, say
from bmopt.cli.units import size_text, time_text

if TYPE_CHECKING:
    from bmopt.workflow.inspecting import ArtifactFacts, KernelFacts

_LONGEST = 60


def print_artifact(facts: ArtifactFacts) -> None:
    """Print what an artifact was compiled for, and the kernels of its engine."""
    say(f"artifact for {facts.target}, digest {facts.digest[:12]}")
    if not facts.engine:
        say("its graph is run as it is: bmopt inspect --layers model.onnx lists its nodes")
        return
    devices = f" for {' '.join(facts.devices)}" if facts.devices else ""
    say(f"engine: {facts.engine}{devices}, {size_text(facts.size_bytes)}")
    if facts.on_board is not None:
        print_on_board(facts.on_board)
    if facts.kernels:
        say()
        rows = [_row(kernel) for kernel in facts.kernels]
        headers = ("kernel", "reads", "writes", "schedule", "time", "nodes")
        print_table(headers, rows, right=(4,))


def _row(kernel: KernelFacts) -> tuple[str, ...]:
    nodes = ", ".join(kernel.nodes)
    return (
        kernel.name,
        ", ".join(kernel.reads),
        ", ".join(kernel.writes),
        kernel.schedule,
        "-" if kernel.ns is None else time_text(kernel.ns),
        nodes if len(nodes) <= _LONGEST else f"{nodes[: _LONGEST - 3]}...",
    )
