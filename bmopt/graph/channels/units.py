"""Channels as numbers, joined where one cannot go without the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Units:
    """A disjoint-set forest of channels; some of them have a reason to stay.

    R. E. Tarjan, "Efficiency of a good but not linear set union algorithm", JACM 22 (1975).
    """

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._reasons: dict[int, str] = {}

    def fresh(self, count: int) -> Ints:
        """Return ``count`` new channels that no other depends on."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def root(self, unit: int) -> int:
        """Return the channel that stands for all that are joined with ``unit``."""
        while self._parents[unit] != unit:
            self._parents[unit] = self._parents[self._parents[unit]]
            unit = self._parents[unit]
        return unit

    def roots(self, units: Ints) -> Ints:
        """Return the channels that stand for each of ``units``."""
        return np.array([self.root(int(one)) for one in units], dtype=np.int64)

    def join(self, left: Ints, right: Ints) -> None:
        """Join two equally long rows of channels, one by one."""
        for one, other in zip(left.tolist(), right.tolist(), strict=True):
            self._join(one, other)

    def join_all(self, rows: Ints) -> None:
        """Join the channels of every column of ``[rows, columns]``."""
        for row in rows[1:]:
            self.join(rows[0], row)

    def keep(self, units: Ints, reason: str) -> None:
        """Have channels stay; the first reason given is the one that is told."""
        for unit in units.tolist():
            self._reasons.setdefault(self.root(unit), reason)

    def reason(self, unit: int) -> str:
        """Return why a channel stays, empty where it may go."""
        return self._reasons.get(self.root(unit), "")

    def _join(self, one: int, other: int) -> None:
        one, other = self.root(one), self.root(other)
        if one == other:
            return
        first, second = min(one, other), max(one, other)
        self._parents[second] = first
        if second in self._reasons:
            self._reasons.setdefault(first, self._reasons.pop(second))
