"""What a model's layers take at any width, from profiles of it at a few."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.core.backend import Reference
from bmopt.core.profile import LayerProfile
from bmopt.core.prune_plan import PrunePlan
from bmopt.core.runner import Feeds
from bmopt.graph.channels.counting import Counts, Kept
from bmopt.graph.channels.groups import Channels
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import save_model
from bmopt.optimizer.passes.prune_channels import PruneChannels
from bmopt.workflow.progress import Progress

Floats = npt.NDArray[np.float64]

_RATIOS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
"""Parts of every group's channels that go in the profiled models."""

_UNITS = (1, 4, 8, 16)
"""Channels that a kernel may compute at a time."""

_REST = "rest"


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """The time of a layer: a start, and what each of its MACs takes.

    Attributes:
        start_ns: Nanoseconds whatever its width.
        mac_ns: Nanoseconds per MAC.
    """

    start_ns: float
    mac_ns: float


@dataclasses.dataclass(frozen=True)
class LatencyCost:
    """The latency of a model by how many channels stay, as estimated from profiles.

    Attributes:
        layers: Node -> its cost; ``"rest"`` has all kernels without MACs, which grow with the
            square root of the model's.
        unit: Channels that a kernel computes at a time: in between, nothing is gained.
        counts: MACs by how many channels stay.
    """

    layers: Mapping[str, LayerCost]
    unit: int
    counts: Counts

    def __call__(self, kept: Kept) -> float:
        """Return nanoseconds of one inference."""
        macs = _macs(self.counts, kept, self.unit)
        return sum(one.start_ns + one.mac_ns * macs[name] for name, one in self.layers.items())


@dataclasses.dataclass(frozen=True)
class Widths:
    """A model's channels, to be profiled at several widths.

    Attributes:
        model: The model, with inferred shapes.
        channels: Its dependency groups.
        counts: Its MACs by how many channels stay.
    """

    model: ir.Model
    channels: Channels
    counts: Counts


def latency_cost(
    widths: Widths,
    engine: Reference,
    feeds: Sequence[Feeds],
    *,
    threads: int,
    seconds: float,
    progress: Progress,
) -> LatencyCost:
    """Profile a model at several widths, and return what its layers take in between.

    Every group loses the same part of its channels in a profiled model. The unit that explains
    the times best is taken: kernels that compute 16 channels at a time need as long for 17 as for
    32.

    Raises:
        DataError: No feeds, or feeds that do not fit the model.
        ModelError: The engine refuses the model.
    """
    seen: list[tuple[dict[str, int], LayerProfile]] = []
    with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
        for done, ratio in enumerate(_RATIOS):
            kept = {
                group.name: group.size - min(int(group.size * ratio), group.size - 1)
                for group in widths.channels.groups
                if not group.reason
            }
            path = Path(folder) / f"{done}.onnx"
            save_model(_cut(widths, kept), path)
            profile = engine.profile_graph(
                path, feeds, threads=threads, seconds=seconds / len(_RATIOS)
            )
            seen.append((kept, profile))
            progress.advance(done + 1, len(_RATIOS))
    times = _times([profile for _, profile in seen], {node.name for node in widths.counts.nodes})
    fits = [_fitted(widths.counts, [kept for kept, _ in seen], times, unit) for unit in _UNITS]
    return min(fits, key=lambda fit: fit[1] * (1.0 + 1e-6 * fit[0].unit))[0]


def _cut(widths: Widths, kept: Mapping[str, int]) -> ir.Model:
    removed = {
        group.name: tuple(range(kept[group.name], group.size))
        for group in widths.channels.groups
        if group.name in kept
    }
    model = widths.model.clone()
    return PruneChannels(PrunePlan(model_digest(model), removed))(model).model


def _times(profiles: Sequence[LayerProfile], products: set[str]) -> dict[str, Floats]:
    """Return node -> nanoseconds in each profile."""
    found = {name: np.zeros(len(profiles)) for name in (*sorted(products), _REST)}
    for index, profile in enumerate(profiles):
        for layer in profile.layers:
            names = [name for name in (layer.node, *layer.nodes) if name in products]
            found[names[0] if names else _REST][index] += layer.ns
    return found


def _fitted(
    counts: Counts, kept: Sequence[Kept], times: Mapping[str, Floats], unit: int
) -> tuple[LatencyCost, float]:
    """Return the costs that explain the times, and the sum of what they miss."""
    macs = [_macs(counts, one, unit) for one in kept]
    layers, missed = {}, 0.0
    for name, taken in times.items():
        work = np.array([one[name] for one in macs])
        layers[name] = _line(work, taken)
        guess = layers[name].start_ns + layers[name].mac_ns * work
        missed += float(np.abs(guess - taken).sum())
    return LatencyCost(layers, unit, counts), missed


def _line(work: Floats, taken: Floats) -> LayerCost:
    """Return the line through the points that has no negative part, by least squares."""
    if np.ptp(work) == 0.0:
        return LayerCost(float(np.median(taken)), 0.0)
    slope, start = np.polyfit(work, taken, 1)
    if slope <= 0.0:
        return LayerCost(float(np.median(taken)), 0.0)
    if start < 0.0:
        return LayerCost(0.0, float((work @ taken) / (work @ work)))
    return LayerCost(float(start), float(slope))


def _macs(counts: Counts, kept: Kept, unit: int) -> dict[str, float]:
    """Return node -> MACs of whole units of channels; of the rest, what stands for its work."""
    whole = {
        name: min(counts.sizes[name], -(-count // unit) * unit) for name, count in kept.items()
    }
    found = counts.node_macs(whole)
    return {**found, _REST: float(np.sqrt(sum(found.values())))}
