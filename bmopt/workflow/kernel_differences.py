"""Whether the kernels of a library round as the Q/DQ graph that it was compiled from."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmopt.backends.tvm.separating import Separated, separate
from bmopt.core.engine import BuildOptions
from bmopt.core.runner import Array, Feeds
from bmopt.errors import BmoptError
from bmopt.graph.model_io import save_model
from bmopt.workflow.lowering import Lowered
from bmopt.workflow.preparing import Job

_FEEDS = 4
"""Inferences of calibration samples that kernels are compared on."""


def kernel_differences(job: Job, lowered: Lowered, pool: Sequence[Feeds]) -> dict[str, Any] | None:
    """Return how many elements of quantised tensors differ, kernel by kernel, and by how much.

    Every kernel is fed what the graph has, evaluated by the reference with its Q/DQ nodes as they
    are written: in a whole network, a step in one layer moves all behind it.

    Returns:
        ``elements`` compared, how many are ``off``, by how many steps at ``most``, and the
        ``tensor`` with the most of them, which is empty where none is; None where the artifact
        has no library of integers that runs here.
    """
    if job.target.engine != "tvm" or job.target.precision != "int8" or not pool:
        return None
    job.progress.step("compare kernels")
    separated = separate(lowered.model)
    if not separated.cuts:
        return None
    try:
        return _compared(job, separated, pool[:_FEEDS])
    except BmoptError as error:
        job.progress.warn(f"kernels were not compared with the graph: {error}")
        return None


def _compared(job: Job, separated: Separated, pool: Sequence[Feeds]) -> dict[str, Any]:
    builder = job.backend.builder
    assert builder is not None
    with tempfile.TemporaryDirectory(prefix="bmopt-") as name:
        whole, parts = Path(name) / "whole.onnx", Path(name) / "parts.onnx"
        save_model(separated.whole, whole)
        save_model(separated.parts, parts)
        library = Path(name) / builder.engine_file
        options = BuildOptions(timeout_s=job.recipe.build_timeout_s)
        builder.build(parts, library, job.target, options)
        with (
            job.reference.open_graph(whole, keep_qdq=True) as graph,
            job.backend.open(library, job.target, threads=1) as kernels,
        ):
            gaps: dict[str, list[Array]] = {cut.tensor: [] for cut in separated.cuts}
            for feeds in pool:
                wanted = graph.run(feeds)
                found = kernels.run(_fed(separated, feeds, wanted))
                for tensor, known in gaps.items():
                    steps = found[tensor].astype(np.int32) - wanted[tensor].astype(np.int32)
                    known.append(np.abs(steps).reshape(-1))
    return _summary({tensor: np.concatenate(known) for tensor, known in gaps.items()})


def _fed(separated: Separated, feeds: Feeds, wanted: Feeds) -> dict[str, Array]:
    """Return feeds of the graph in parts: every quantised tensor as the whole graph has it."""
    found = dict(feeds)
    for cut in separated.cuts:
        steps = wanted[cut.tensor].astype(np.float32) - np.float32(cut.zero)
        found[cut.fed] = steps * np.float32(cut.scale)
    return found


def _summary(gaps: dict[str, Array]) -> dict[str, Any]:
    off = {tensor: int(np.count_nonzero(steps)) for tensor, steps in gaps.items()}
    worst = max(off, key=lambda tensor: off[tensor])
    return {
        "elements": sum(steps.size for steps in gaps.values()),
        "off": sum(off.values()),
        "most": max(int(steps.max(initial=0)) for steps in gaps.values()),
        "tensor": worst if off[worst] else "",
    }
