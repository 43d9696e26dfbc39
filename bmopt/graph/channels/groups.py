"""Dependency groups: channels of a model that can be cut out, and what goes with each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.graph.channels.branches import Branches, Exit
from bmopt.graph.channels.flow import Fix, Flow, Place, Role
from bmopt.graph.channels.rules import walk
from bmopt.graph.channels.units import Ints
from bmopt.graph.nesting import subgraphs_of

_MOST_TRIED = 50
"""Splits that are tried one by one: each takes a walk over the graph for each of its parts."""


@dataclasses.dataclass(frozen=True)
class Slice:
    """Where a constant has the channels of a group.

    Attributes:
        value: Name of the constant.
        axis: Its axis.
        channels: For every position the group's channel, -1 where it is another group's.
        role: ``"writes"``: the positions make the channels, as rows of a weight do;
            ``"reads"``: they are what a weight sums over; ``"follows"``: a number for each, as a
            bias or what BatchNormalization has.
        node: Name of the node that reads it.
    """

    value: str
    axis: int
    channels: Ints
    role: Role
    node: str


@dataclasses.dataclass(frozen=True)
class Group:
    """Channels that are ranked against each other, as all of them lie in the same tensors.

    Attributes:
        name: The first node that makes them, with a number behind it where it makes more.
        size: How many there are. One may stand for several positions of a tensor, or for
            positions of several tensors, that have to go together.
        slices: Where constants have them.
        reason: Why none of them can go; empty where they can.
        exits: Where the branch ends that reads them, if all of them can go and it with them;
            empty where one must stay.
    """

    name: str
    size: int
    slices: tuple[Slice, ...]
    reason: str
    exits: tuple[Exit, ...] = ()


@dataclasses.dataclass(frozen=True)
class Channels:
    """All channels of a model's main graph.

    Attributes:
        groups: Dependency groups in the order of the nodes that make them.
        flow: What was found on the way, to cut by.
        atoms: Group and channel of it -> the number that ``flow`` has for it.
    """

    groups: tuple[Group, ...]
    flow: Flow
    atoms: Mapping[tuple[str, int], int]

    @property
    def fixes(self) -> list[Fix]:
        """What else changes when channels go."""
        return self.flow.fixes

    def group(self, name: str) -> Group | None:
        """Return the group of that name."""
        return next((group for group in self.groups if group.name == name), None)


def channels_of(model: ir.Model) -> Channels:
    """Return the dependency groups of a model whose shapes were inferred.

    Two channels are joined where one cannot be cut out without the other: those that a residual
    Add adds, that a depthwise convolution reads and writes, that lie in the same place of every
    group of a grouped convolution, that are one head of attention. The idea is that of G. Fang et
    al., "DepGraph: Towards Any Structural Pruning" (CVPR 2023), by channel instead of by layer.
    """
    found = _grouped(_freest(model))
    return dataclasses.replace(found, groups=tuple(_with_exits(found.groups, model)))


def _freest(model: ir.Model) -> Flow:
    """Walk a model; where all channels of a split axis stay, try its other parts.

    First all such splits at once, as the layers of a transformer are alike, then one by one.
    """
    flow = _walked(model, {})
    flow = _freer(model, flow, _stuck(flow))
    seen: set[str] = set()
    while len(seen) < _MOST_TRIED:
        name = next((one for one in _stuck(flow) if one not in seen), None)
        if name is None:
            break
        seen.add(name)
        flow = _freer(model, flow, [name])
    return flow


def _freer(model: ir.Model, flow: Flow, names: Sequence[str]) -> Flow:
    """Return the walk in which most channels may go, of those with other parts of some splits."""
    parts = range(max((flow.splits[name][1] for name in names), default=0))
    others = [_walked(model, {**flow.chosen, **dict.fromkeys(names, part)}) for part in parts]
    return max((flow, *others), key=Flow.count_free)


def _stuck(flow: Flow) -> list[str]:
    """Return the splits of which no channel may go."""
    free = flow.free()
    return [
        name
        for name, (units, _) in flow.splits.items()
        if free.isdisjoint(flow.units.roots(units).tolist())
    ]


def _walked(model: ir.Model, chosen: Mapping[str, int]) -> Flow:
    flow = Flow(chosen)
    for node in model.graph:
        walk(flow, node)
        _keep_captured(flow, node)
    for output in model.graph.outputs:
        for units in flow.labels(output):
            flow.keep(units, f"it is in the output {output.name!r}")
    flow.keep_shared()
    return flow


def _with_exits(groups: Iterable[Group], model: ir.Model) -> Iterator[Group]:
    """Yield groups with their exits; of two branches that are added to each other one may go."""
    branches = Branches(model.graph)
    passed: dict[str, int] = {}
    for group in groups:
        exits = _exits(group, branches)
        if any(passed.get(one.node, one.passed) != one.passed for one in exits):
            exits = ()
        passed |= {one.node: one.passed for one in exits}
        yield dataclasses.replace(group, exits=exits)


def _exits(group: Group, branches: Branches) -> tuple[Exit, ...]:
    readers = [one for one in group.slices if one.role == "reads"]
    if group.reason or any((one.channels < 0).any() for one in readers):
        return ()
    return branches.exits([one.node for one in readers], {one.node for one in group.slices})


def _keep_captured(flow: Flow, node: ir.Node) -> None:
    """What a body reads from outside stays as it is."""
    for body in subgraphs_of(node):
        for inner in body.all_nodes():
            for value in inner.inputs:
                for units in flow.labels(value):
                    flow.keep(units, f"the body of {node.name!r} reads it")


def _grouped(flow: Flow) -> Channels:
    members = _members(flow)
    index = {
        root: (key, at) for key, (_, found) in enumerate(members) for at, root in enumerate(found)
    }
    places = list(_by_group(flow, index))
    groups: list[Group] = []
    for key, (name, found) in enumerate(members):
        slices = tuple(one for of, one in places if of == key)
        reason = next(filter(None, map(flow.units.reason, found)), "")
        if not reason and not any(one.role == "reads" for one in slices):
            reason = "no weight reads it"
        groups.append(Group(name, len(found), slices, reason))
    atoms = {(name, at): root for name, found in members for at, root in enumerate(found)}
    return Channels(tuple(groups), flow, atoms)


def _members(flow: Flow) -> list[tuple[str, list[int]]]:
    """Return every group's name and channels: those that lie in the same tensors."""
    tensors: dict[int, list[int]] = {}
    rows = [*(row for _, row in flow.made), *flow.rows, *(one.units for one in flow.places)]
    for number, row in enumerate(rows):
        for root in dict.fromkeys(flow.units.roots(row).tolist()):
            tensors.setdefault(root, []).append(number)
    found: dict[tuple[int, ...], list[int]] = {}
    makers: dict[tuple[int, ...], str] = {}
    for name, row in flow.made:
        for root in dict.fromkeys(flow.units.roots(row).tolist()):
            key = tuple(tensors[root])
            makers.setdefault(key, name)
            if root not in (known := found.setdefault(key, [])):
                known.append(root)
    names = _distinct(makers.values())
    return list(zip(names, found.values(), strict=True))


def _distinct(names: Iterable[str]) -> list[str]:
    """Return names, with a number behind those that came before."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        count = seen[name] = seen.get(name, 0) + 1
        found.append(f"{name}#{count}" if count > 1 else name)
    return found


def _by_group(flow: Flow, index: Mapping[int, tuple[int, int]]) -> Iterator[tuple[int, Slice]]:
    done: set[tuple[ir.Value, int]] = set()
    for place in flow.places:
        if (place.value, place.axis) in done:
            continue
        done.add((place.value, place.axis))
        for key, channels in _parts(flow.units.roots(place.units), index):
            yield key, _slice(place, channels)


def _parts(roots: Ints, index: Mapping[int, tuple[int, int]]) -> Iterator[tuple[int, Ints]]:
    """Yield the groups that a row has channels of, and these by position."""
    found = [index.get(root, (-1, -1)) for root in roots.tolist()]
    for key in dict.fromkeys(one for one, _ in found if one >= 0):
        yield key, np.array([at if of == key else -1 for of, at in found], dtype=np.int64)


def _slice(place: Place, channels: Ints) -> Slice:
    name, node = str(place.value.name), str(place.node.name)
    return Slice(name, place.axis, channels, place.role, node)
