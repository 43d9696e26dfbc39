"""What a model's layers take at any width, from profiles of it at a few."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from bmopt.core.profile import LayerProfile, quickest
from bmopt.core.prune_plan import PrunePlan
from bmopt.graph.channels.counting import Counts, Kept
from bmopt.graph.channels.groups import Channels
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import save_model
from bmopt.optimizer.passes.prune_channels import PruneChannels
from bmopt.workflow.progress import Progress

_RATIOS = (0.0, 0.25, 0.45, 0.6, 0.75, 0.875)
"""Parts of every group's channels that go in the profiled models."""

_UNITS = (1, 4, 8, 16)
"""What widths may be multiples of."""

_ROUNDS = 2
"""How often each model is profiled, in turns; a kernel counts with its quicker time."""

Forms = Callable[[ir.Model], Sequence[ir.Model]]
"""Returns a float model in the target's precision, and in those that layers may stay in."""

Profiler = Callable[[Path, float], LayerProfile]
"""Profiles a model's file for so many seconds."""

_REST = "rest"

Rests = Mapping[str, tuple[str, ...]]
"""Name of some kernels without MACs -> the nodes whose MACs they grow with."""


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """The time of a layer by its work, between what was measured on a line.

    Attributes:
        macs: Its MACs at the measured widths, the fewest first.
        ns: Nanoseconds at each. More work may take less time, where a kernel likes the width.
    """

    macs: tuple[float, ...]
    ns: tuple[float, ...]

    def __call__(self, macs: float) -> float:
        """Return nanoseconds; outside of what was measured, those of the nearest width."""
        return float(np.interp(macs, self.macs, self.ns))


@dataclasses.dataclass(frozen=True)
class LatencyCost:
    """The latency of a model by how many channels stay, as estimated from profiles.

    Attributes:
        layers: Node -> its cost. ``"rest"`` has the kernels without MACs, which grow with the
            square root of the model's; those on a branch that may go as a whole have an entry of
            their own, and grow with the branch's.
        unit: It holds for widths that are multiples of this, and for whole groups.
        counts: MACs by how many channels stay.
        rests: The kernels without MACs.
    """

    layers: Mapping[str, LayerCost]
    unit: int
    counts: Counts
    rests: Rests

    def __call__(self, kept: Kept) -> float:
        """Return nanoseconds of one inference."""
        work = _work(self.counts, self.rests, kept)
        return sum(cost(work[name]) for name, cost in self.layers.items() if work[name])

    def to_dict(self) -> dict[str, Any]:
        """Return the table as a JSON value."""
        layers = {name: dataclasses.asdict(cost) for name, cost in self.layers.items()}
        return {"multiple": self.unit, "layers": layers}


@dataclasses.dataclass(frozen=True)
class Widths:
    """A model's channels, to be profiled at several widths.

    Attributes:
        model: The model, with inferred shapes.
        channels: Its dependency groups.
        counts: Its MACs by how many channels stay.
        forms: Brings a model with fewer channels to the precisions that it is timed in.
    """

    model: ir.Model
    channels: Channels
    counts: Counts
    forms: Forms


def latency_costs(
    widths: Widths, profile: Profiler, *, seconds: float, progress: Progress
) -> tuple[LatencyCost, ...]:
    """Profile a model at several widths, and return what its layers take in between.

    Every group loses the same part of its channels in a profiled model. Kernels like some widths
    so much that a wider layer may be the faster one: ONNX Runtime's fastest integer convolutions
    write multiples of 16 channels, and 8 channels take longer than 16. So there is one estimate
    for each thing that widths may be multiples of, from profiles of such widths alone.

    Raises:
        BmoptError: As ``profile`` and the models' forms raise it.
    """
    wanted = {unit: [_kept(widths.channels, ratio, unit) for ratio in _RATIOS] for unit in _UNITS}
    every = list({tuple(kept.values()): kept for of in wanted.values() for kept in of}.values())
    with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
        paths = [
            _saved(widths, kept, Path(folder) / str(index)) for index, kept in enumerate(every)
        ]
        files = [path for forms in paths for path in forms]
        profiles = _profiled(files, profile, seconds, progress)
    seen = [
        (kept, [profiles[path] for path in forms])
        for kept, forms in zip(every, paths, strict=True)
    ]
    return tuple(
        _tables(widths.counts, [pair for pair in seen if pair[0] in of], unit)
        for unit, of in wanted.items()
    )


def _saved(widths: Widths, kept: Mapping[str, int], folder: Path) -> list[Path]:
    """Write the forms of a model with so many channels; return their files."""
    folder.mkdir()
    paths = []
    for index, model in enumerate(widths.forms(_cut(widths, kept))):
        paths.append(folder / f"{index}.onnx")
        save_model(model, paths[-1])
    return paths


def _profiled(
    paths: Sequence[Path], profile: Profiler, seconds: float, progress: Progress
) -> dict[Path, LayerProfile]:
    """Return the profile of every file; each takes its share of the time."""
    found: dict[Path, list[LayerProfile]] = {path: [] for path in paths}
    turns = [path for _ in range(_ROUNDS) for path in paths]
    for done, path in enumerate(turns):
        found[path].append(profile(path, seconds / len(turns)))
        progress.advance(done + 1, len(turns))
    return {path: quickest(of) for path, of in found.items()}


def _kept(channels: Channels, ratio: float, unit: int) -> dict[str, int]:
    """Return how many channels stay: a multiple of ``unit``, or all of them."""
    found = {}
    for group in channels.groups:
        if not group.reason:
            left = max(1, int(group.size * (1.0 - ratio)))
            found[group.name] = min(group.size, -(-left // unit) * unit)
    return found


def _cut(widths: Widths, kept: Mapping[str, int]) -> ir.Model:
    removed = {
        group.name: tuple(range(kept[group.name], group.size))
        for group in widths.channels.groups
        if group.name in kept
    }
    model = widths.model.clone()
    return PruneChannels(PrunePlan(model_digest(model), removed))(model).model


def _rest_of(groups: Sequence[str]) -> str:
    """Return the name of the kernels without MACs that go with some groups."""
    return f"{_REST} of {', '.join(groups)}" if groups else _REST


def _rests(counts: Counts) -> Rests:
    """Return the kernels without MACs, those of each branch apart."""
    return {
        _rest_of(groups): tuple(
            node.name for node in counts.nodes if set(groups) <= set(node.branches)
        )
        for groups in sorted({(), *counts.branches.values()})
    }


def _times(
    profiles: Sequence[LayerProfile], products: set[str], branches: Mapping[str, str]
) -> dict[str, float]:
    """Return node -> nanoseconds, in the quickest form; kernels without MACs as in the first."""
    found = [_times_of(profile, products, branches) for profile in profiles]
    quick = {name: min(times[name] for times in found) for name in products}
    return {**found[0], **quick}


def _times_of(
    profile: LayerProfile, products: set[str], branches: Mapping[str, str]
) -> dict[str, float]:
    times = dict.fromkeys((_REST, *products, *branches.values()), 0.0)
    for layer in profile.layers:
        names = (layer.node, *layer.nodes)
        own = [name for name in names if name in products]
        on = {branches[name] for name in names if name in branches}
        times[own[0] if own else on.pop() if len(on) == 1 else _REST] += layer.ns
    return times


def _tables(
    counts: Counts, seen: Sequence[tuple[Kept, Sequence[LayerProfile]]], unit: int
) -> LatencyCost:
    """Return what layers take by their work, from the profiles of some widths."""
    products, rests = {node.name for node in counts.nodes}, _rests(counts)
    branches = {node: _rest_of(groups) for node, groups in counts.branches.items()}
    work = [_work(counts, rests, kept) for kept, _ in seen]
    times = [_times(profiles, products, branches) for _, profiles in seen]
    layers = {
        name: _table([one[name] for one in work], [one[name] for one in times])
        for name in (*sorted(products), *rests)
    }
    return LatencyCost(layers, unit, counts, rests)


def _table(work: Sequence[float], taken: Sequence[float]) -> LayerCost:
    """Return the times by work; of the same work, the quickest: other load only ever adds."""
    quick: dict[float, float] = {}
    for macs, ns in zip(work, taken, strict=True):
        quick[macs] = min(ns, quick.get(macs, ns))
    known = sorted(quick)
    return LayerCost(tuple(known), tuple(quick[macs] for macs in known))


def _work(counts: Counts, rests: Rests, kept: Kept) -> dict[str, float]:
    """Return the MACs of every node; of kernels without, what stands for their work."""
    found = counts.node_macs(kept)
    sums = {name: sum(found[node] for node in nodes) for name, nodes in rests.items()}
    return {**found, **{name: float(np.sqrt(macs)) for name, macs in sums.items()}}
