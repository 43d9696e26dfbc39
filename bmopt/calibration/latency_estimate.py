"""From profiles of a few placements to the times of every group and border."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from bmopt.calibration.kernel_shares import Shares
from bmopt.calibration.toggles import Border, Toggles
from bmopt.core.latency_table import BorderLatency, GroupLatency

_FEWEST_TO_FIT = 4


@dataclasses.dataclass(frozen=True)
class Observation:
    """What the kernels of one placement were spent on.

    Attributes:
        integer: The groups that were in integers.
        shares: Where the time went.
    """

    integer: frozenset[str]
    shares: Shares


def group_latencies(
    toggles: Toggles, in_float: Observation, in_int: Observation
) -> dict[str, GroupLatency]:
    """Return every group's times in context, with the layout changes that always come with them.

    Args:
        toggles: The groups.
        in_float: All groups in float.
        in_int: All groups in integers. What is spent where float meets integers there as well,
            as at the model's input, belongs to borders.
    """
    layouts = _InnerLayouts(toggles, in_float, in_int)
    stuck = _stuck_conversions(toggles, in_int)
    return {
        name: GroupLatency(
            float_ns=in_float.shares.own.get(name, 0.0)
            + layouts.before(name, integer=False)
            + layouts.after(name, integer=False),
            int_ns=in_int.shares.own.get(name, 0.0)
            + layouts.before(name, integer=True)
            + layouts.after(name, integer=True)
            + stuck.get(name, 0.0),
            op=group.op,
            needs=group.needs,
        )
        for name, group in toggles.groups.items()
    }


def border_latencies(
    toggles: Toggles,
    observations: Sequence[Observation],
    sizes: Mapping[str, int],
) -> dict[str, BorderLatency]:
    """Return what every border costs: the median where it was seen, else a line through the rest.

    Args:
        toggles: The groups and borders.
        observations: All groups in float, all in integers, then any others.
        sizes: Tensor -> its elements in one inference, where they are known.
    """
    layouts = _InnerLayouts(toggles, observations[0], observations[1])
    seen: tuple[dict[str, list[float]], dict[str, list[float]]] = ({}, {})
    for one in observations[1:]:
        for tensor, border in toggles.borders.items():
            if border.quantizes(one.integer):
                cost = one.shares.quantize.get(tensor, 0.0) + layouts.extra(tensor, one)
                seen[0].setdefault(tensor, []).append(cost)
            elif border.dequantizes(one.integer):
                cost = one.shares.dequantize.get(tensor, 0.0) + layouts.extra(tensor, one)
                seen[1].setdefault(tensor, []).append(cost)
    quantize, dequantize = (
        {tensor: statistics.median(costs) for tensor, costs in one.items()} for one in seen
    )
    guess_quantize = _line(quantize or dequantize, sizes)
    guess_dequantize = _line(dequantize or quantize, sizes)
    return {
        tensor: BorderLatency(
            quantize.get(tensor, guess_quantize(tensor)),
            dequantize.get(tensor, guess_dequantize(tensor)) if border.writer else 0.0,
            border.writer,
            border.readers,
            border.read_in_float,
        )
        for tensor, border in toggles.borders.items()
    }


class _InnerLayouts:
    """Changes of layout that a group has where its neighbours are as it is."""

    def __init__(self, toggles: Toggles, in_float: Observation, in_int: Observation) -> None:
        self._toggles = toggles
        self._float = in_float.shares
        self._int = in_int.shares
        self._integer = in_int.integer

    def before(self, name: str, *, integer: bool) -> float:
        """Return what a group always spends on the layout of what it reads."""
        if not integer:
            return self._float.before.get(name, 0.0)
        return 0.0 if self._borders_before(name, self._integer) else self._int.before.get(name, 0)

    def after(self, name: str, *, integer: bool) -> float:
        """Return what a group always spends on the layout of what it writes."""
        if not integer:
            return self._float.after.get(name, 0.0)
        border = self._toggles.borders.get(self._toggles.groups[name].output)
        meets = border is not None and border.dequantizes(self._integer)
        return 0.0 if meets else self._int.after.get(name, 0.0)

    def extra(self, tensor: str, one: Observation) -> float:
        """Return what crossing ``tensor`` adds to the changes of layout of those around it."""
        border = self._toggles.borders[tensor]
        found = 0.0
        if border.writer:
            always = self.after(border.writer, integer=border.writer in one.integer)
            found += max(0.0, one.shares.after.get(border.writer, 0.0) - always)
        for name in border.readers:
            if (name in one.integer) == (border.writer in one.integer):
                continue
            always = self.before(name, integer=name in one.integer)
            more = max(0.0, one.shares.before.get(name, 0.0) - always)
            found += more / max(1, self._borders_before(name, one.integer))
        return found

    def _borders_before(self, name: str, integer: Collection[str]) -> int:
        """Return at how many of its inputs a group meets the other side."""
        borders = (self._toggles.borders[tensor] for tensor in self._toggles.groups[name].inputs)
        return sum((border.writer in integer) != (name in integer) for border in borders)


def _stuck_conversions(toggles: Toggles, in_int: Observation) -> dict[str, float]:
    """Return conversions between groups in integers, which the engine could not fuse, by group."""
    found: dict[str, float] = {}
    for tensor, border in toggles.borders.items():
        spent = 0.0
        if not border.quantizes(in_int.integer):
            spent += in_int.shares.quantize.get(tensor, 0.0)
        if not border.dequantizes(in_int.integer) and border.writer:
            spent += in_int.shares.dequantize.get(tensor, 0.0)
        group = border.writer or _first(border)
        if spent and group:
            found[group] = found.get(group, 0.0) + spent
    return found


def _first(border: Border) -> str:
    return border.readers[0] if border.readers else ""


def _line(costs: Mapping[str, float], sizes: Mapping[str, int]) -> Callable[[str], float]:
    """Return a guess at a tensor's cost: a constant and a cost per element, neither negative."""
    known = {tensor: cost for tensor, cost in costs.items() if tensor in sizes}
    typical = statistics.median(costs.values()) if costs else 0.0
    total = sum(sizes[tensor] for tensor in known)
    if not total:
        return lambda _: typical
    slope, start = sum(known.values()) / total, 0.0
    if len(known) >= _FEWEST_TO_FIT and len({sizes[tensor] for tensor in known}) > 1:
        fitted = np.polyfit([sizes[tensor] for tensor in known], list(known.values()), 1)
        if fitted.min() >= 0.0:
            slope, start = map(float, fitted)
    return lambda tensor: start + slope * sizes[tensor] if tensor in sizes else typical
