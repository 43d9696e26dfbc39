"""The functions of a compiled library: nodes, element type, schedule, and time where it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.backends.tvm.kernels import executed_dtype
from bmopt.backends.tvm.profile import profile_library, schedule_of, times_of
from bmopt.bench.attribution import original_nodes
from bmopt.core.engine import EngineBuild
from bmopt.core.runner import Feeds
from bmopt.core.target import Target
from bmopt.graph.nesting import nodes_in

_ENGINE = "tvm"


def function_rows(
    library: Path,
    graph: ir.Model,
    target: Target,
    built: EngineBuild | None,
    feeds: Sequence[Feeds],
    *,
    threads: int,
    seconds: float,
) -> list[dict[str, Any]] | None:
    """Return a row for every function in the order of the calls; None of another engine.

    Args:
        library: The library.
        graph: What it was compiled from; its nodes know those of the original model.
        target: What it was compiled for.
        built: What its build told.
        feeds: Inputs to time it with; none where it is not run here.
        threads: Threads of a run.
        seconds: Time that this may take; 0 leaves times out.
    """
    if target.engine != _ENGINE or built is None:
        return None
    times: list[float | None] = [None] * len(built.kernels)
    if feeds and seconds > 0:
        found = profile_library(library, built.kernels, feeds, threads=threads, seconds=seconds)
        times = times_of(found, built.kernels)
    nodes = {str(node.name): node for node in nodes_in(graph.graph)}
    return [
        {
            "function": kernel.name,
            "nodes": list(original_nodes(kernel.nodes, nodes)),
            "dtype": executed_dtype(kernel),
            "schedule": schedule_of(kernel),
            "ns": ns,
        }
        for kernel, ns in zip(built.kernels, times, strict=True)
    ]
