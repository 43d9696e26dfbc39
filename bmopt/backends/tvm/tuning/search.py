"""Which candidate of a task comes next, and which task: what is promised by what was found."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from bmopt.backends.tvm.tuning.database import Record
from bmopt.backends.tvm.tuning.decisions import Value
from bmopt.backends.tvm.tuning.search_space import Measured
from bmopt.backends.tvm.tuning.tasks import TRACE, Schedule, Task

THREADED = "shared"
"""The decision that is measured on all threads: whether a loop is shared between them."""

_PATIENCE = 24
"""Trials without an improvement after which a task is left alone."""

_AT_ONCE = 8

_LEAST_SHARE = 0.002
"""Of the model's time; a kernel with less is not worth a trial."""


class Search:
    """The search for one task's best schedule.

    It walks along the coordinates: from the best schedule so far, one decision after the other is
    changed, options that the kernel's own model ranks higher first.

    Attributes:
        task: The task.
        default_us: Time of a call of its default.
        best: The best trial that beats the default, None so far.
        trials: How many were made.
        is_over: Whether there is nothing left to try.
    """

    def __init__(self, task: Task, default_us: float) -> None:
        self.task = task
        self.default_us = default_us
        self.best: Record | None = None
        self.trials = 0
        self.is_over = False
        self._stale = 0
        self._tried = {text_of({})}

    @property
    def gained_us(self) -> float:
        """Time that the model saves by the best schedule."""
        return self.default_us * self.task.calls * (1.0 - self.ratio)

    @property
    def ratio(self) -> float:
        """Time of the best schedule as a part of the default's."""
        return self.best.found.ratio if self.best is not None and self.best.found else 1.0

    def promise(self, total_us: float) -> float:
        """Return what a trial may gain; nothing where it is not worth one."""
        time = self.default_us * self.task.calls
        if self.is_over or self._stale >= _PATIENCE or time < _LEAST_SHARE * total_us:
            return 0.0
        return time * self.ratio / (1.0 + self._stale)

    def take(self, record: Record) -> None:
        """Learn from a trial, of this run or an earlier one."""
        text = text_of(record.schedule)
        self.trials += text not in self._tried
        self._tried.add(text)
        self._stale += 1
        if record.is_better and record.found is not None and record.found.ratio < self.ratio:
            self.best, self._stale = record, 0

    def skip(self, schedule: Schedule) -> None:
        """Leave a schedule out that would tell nothing new."""
        self._tried.add(text_of(schedule))

    def has_tried(self, schedule: Schedule) -> bool:
        """Whether a schedule was tried."""
        return text_of(schedule) in self._tried

    def next(self) -> Schedule | None:
        """Return what to try next, None where everything was tried."""
        base = self.best.schedule if self.best is not None else {}
        found = next((s for s in self._neighbours(base) if not self.has_tried(s)), None)
        self.is_over = found is None
        return found

    def _neighbours(self, base: Schedule) -> Iterator[Schedule]:
        options = self.task.options
        for rank in range(max(map(len, options.values()), default=0)):
            for name, many in options.items():
                if rank < len(many):
                    yield minimal({**base, name: many[rank]}, options)


class TraceSearch(Search):
    """The search for a schedule among those that TVM proposes."""

    def __init__(
        self,
        task: Task,
        default_us: float,
        propose: Callable[[Sequence[Measured], int], list[str]],
    ) -> None:
        super().__init__(task, default_us)
        self._propose = propose
        self._waiting: list[str] = []
        self._traces: list[Measured] = []

    def take(self, record: Record) -> None:
        """Learn from a trial."""
        super().take(record)
        ratio = math.inf if record.found is None else record.found.ratio
        self._traces.append((str(record.schedule.get(TRACE, "")), ratio))

    def next(self) -> Schedule | None:
        """Return what to try next; TVM is asked for some at a time."""
        if not self._waiting:
            self._waiting = self._propose(self._traces, _AT_ONCE)
        self.is_over = not self._waiting
        return None if self.is_over else {TRACE: self._waiting.pop(0)}


def minimal(schedule: Schedule, options: Mapping[str, tuple[Value, ...]]) -> Schedule:
    """Return a schedule without the decisions that are the default's."""
    return {
        name: schedule[name]
        for name, many in options.items()
        if name in schedule and schedule[name] in many[1:]
    }


def text_of(schedule: Schedule) -> str:
    """Return a schedule as text, equal for equal ones."""
    return json.dumps(dict(schedule), sort_keys=True)


def foreseen(searches: list[Search]) -> float:
    """Return the model's time after tuning as a part of the time before."""
    before = sum(one.default_us * one.task.calls for one in searches)
    return 1.0 - math.fsum(one.gained_us for one in searches) / before if before else 1.0
