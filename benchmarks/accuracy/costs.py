"""What quantising takes: time, memory, and how that compares with running the samples."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from peers.catalogue import Peer
from peers.making import Made
from shared_models import SharedModel

from accuracy.compiling import Compiled
from accuracy.goals import OURS, head
from accuracy.results import Cost
from bmopt.backends.registry import reference
from bmopt.data.open import open_dataset
from bmopt.graph.model_io import input_specs, load_model

BATCH = 16

_REPEATS = 3


def cost_of(target: str, found: Compiled) -> Cost:
    """Return what bmopt took, named after the target."""
    return Cost(
        f"{OURS}-{target}",
        f"bmopt, {target}",
        f"failed: {found.note}" if found.note else "",
        found.seconds,
        found.peak_bytes,
        found.refine_seconds,
    )


def peers_costs(peers: Sequence[Peer], made: Mapping[str, Made]) -> list[Cost]:
    """Return what the peers took; of one that made nothing, why."""
    return [
        Cost(p.name, head(p), made[p.name].note, made[p.name].seconds, made[p.name].peak_bytes)
        for p in peers
        if p.script
    ]


def inference_seconds(model: SharedModel, limit: int) -> float:
    """Return how long FP32 takes for the calibration samples on ONNX Runtime.

    In batches of 16, with as many threads as ``bmopt compile`` has; opening the session and
    reading the samples left out; the fastest of three.

    Args:
        model: The model.
        limit: Samples at most; 0 for all.

    Raises:
        BmoptError: The model or the samples cannot be opened.
    """
    dataset = open_dataset(model.calib, input_specs(load_model(model.path)), limit=limit or None)
    batches = [batch.feeds for batch in dataset.batches(BATCH)]
    taken = []
    with reference().open_graph(model.path) as runner:
        runner.run(batches[0])
        for _ in range(_REPEATS):
            started_ns = time.monotonic_ns()
            for feeds in batches:
                runner.run(feeds)
            taken.append(time.monotonic_ns() - started_ns)
    return min(taken) / 1e9
