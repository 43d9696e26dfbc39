"""Spends a budget on the tasks of a model, and keeps what it finds in a database."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

from bmopt.backends.tvm.importing import Native, line_of
from bmopt.backends.tvm.tuning.database import Database, Record
from bmopt.backends.tvm.tuning.search import THREADED, Search, TraceSearch, foreseen
from bmopt.backends.tvm.tuning.search_space import Measured
from bmopt.backends.tvm.tuning.tasks import Schedule, Task, structure_of
from bmopt.backends.tvm.tuning.timing import Comparison
from bmopt.backends.tvm.tuning.trials import TrialError, Trials
from bmopt.core.tuning_budget import TuningBudget
from bmopt.errors import BoardError, HostError

_ROUNDS, _MORE_ROUNDS = 8, 40
_PROMISING = 0.995

Tell = Callable[[float, float], None]


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What tuning came to.

    Attributes:
        tasks: Distinct kernels that have a choice.
        improved: Those of them with a schedule that beats the default.
        trials: Candidates measured, now and in earlier runs.
        failed: Those of them that failed.
        ratio: Foreseen time of all tasks as a part of the default's.
        warnings: What to tell the user.
    """

    tasks: int
    improved: int
    trials: int
    failed: int
    ratio: float
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it in one line."""
        if not self.tasks:
            return "no kernel has anything to tune"
        failed = f", {self.failed} failed" if self.failed else ""
        return (
            f"{self.improved} of {self.tasks} kernels tuned in {self.trials} trials{failed}; "
            f"kernels take {self.ratio:.0%} of their time before"
        )


class Tuner:
    """Tunes tasks."""

    def __init__(
        self,
        database: Database,
        trials: Trials,
        budget: TuningBudget,
        threads: int,
        tell: Tell,
    ) -> None:
        self._database, self._trials, self._budget = database, trials, budget
        self._threads = threads
        self._tell = tell
        self._spent_s = 0.0
        self._warnings: list[str] = []
        self._failed = 0
        self._written: dict[str, set[int]] = {}

    def run(self, tasks: Sequence[Task]) -> Tuned:
        """Spend the budget.

        Raises:
            BoardError: The board dropped off; what was finished is kept.
            HostError: Kernels cannot be measured.
            OutputError: The database cannot be written.
        """
        searches = [one for one in map(self._search, tasks) if one is not None]
        total = sum(one.default_us * one.task.calls for one in searches)
        while self._is_left(searches):
            # The first of equals, so that order does not depend on anything else.
            search = max(searches, key=lambda one: one.promise(total))
            if not search.promise(total):
                break
            schedule = search.next()
            if schedule is not None:
                self._try(search, schedule, searches)
        return Tuned(
            len(tasks),
            sum(one.best is not None for one in searches),
            sum(one.trials for one in searches),
            self._failed,
            foreseen(searches),
            tuple(self._warnings),
        )

    def _is_left(self, searches: Sequence[Search]) -> bool:
        """Say how far it is, and return whether the budget has something left."""
        trials = sum(one.trials for one in searches)
        if self._budget.trials < float("inf"):
            self._tell(min(trials, self._budget.trials), self._budget.trials)
        else:
            self._tell(min(self._spent_s, self._budget.seconds), self._budget.seconds)
        return bool(searches) and trials < self._budget.trials and (
            self._spent_s < self._budget.seconds
        )  # fmt: skip

    def _search(self, task: Task) -> Search | None:
        """Return a task's search as far as earlier runs got; None where it cannot be measured."""
        start = time.monotonic()
        records = self._database.of(task.key)
        timed = [one.found.us for one in records if one.found is not None]
        try:
            us = timed[0] if timed else self._trials.time_us(task.write({}), threads=1)
        except TrialError as error:
            self._warnings.append(f"a kernel is not tuned, as its default fails: {error}")
            return None
        search = (
            TraceSearch(task, us, lambda known, count: self._proposed(task, known, count))
            if task.searched_by_tvm
            else Search(task, us)
        )
        for one in records:
            search.take(one)
            self._spent_s += one.seconds
            self._failed += bool(one.error)
        self._spent_s += time.monotonic() - start
        return search

    def _proposed(self, task: Task, known: Sequence[Measured], count: int) -> list[str]:
        start = time.monotonic()
        try:
            return self._trials.propose(task.plain, known, count)
        except TrialError as error:
            self._warnings.append(f"TVM's search has nothing for a kernel: {error}")
            return []
        finally:
            self._spent_s += time.monotonic() - start

    def _try(self, search: Search, schedule: Schedule, all_of: Sequence[Search]) -> None:
        if self._is_known(search, schedule):
            search.skip(schedule)
            return
        threads = self._threads if THREADED in schedule else 1
        record = Record(search.task.key, schedule, 0.0, threads)
        try:
            self._trials.open()
            start = time.monotonic()
            try:
                record = dataclasses.replace(record, found=self._measured(search, record))
            except TrialError as failure:
                record, self._failed = failed(record, failure), self._failed + 1
            except BoardError as gone:
                # It may have been this candidate: it is not tried again.
                self._keep(search, failed(record, gone), start)
                raise
        except (BoardError, HostError) as gone:
            kept = sum(one.trials for one in all_of)
            advice = f"{kept} trials are kept, run again to go on"
            raise type(gone)(f"{gone}; {advice}") from gone
        self._keep(search, record, start)

    def _is_known(self, search: Search, schedule: Schedule) -> bool:
        """Whether a schedule writes a kernel that another one wrote before."""
        write = search.task.write
        try:
            known = self._written.setdefault(search.task.key, {structure_of(write({}))})
            made = structure_of(write(schedule))
        except Exception:
            return False  # what it fails with is its trial's result
        is_known = made in known
        known.add(made)
        return is_known

    def _keep(self, search: Search, record: Record, start: float) -> None:
        record = dataclasses.replace(record, seconds=time.monotonic() - start)
        self._database.append(record)
        self._spent_s += record.seconds
        search.take(record)

    def _measured(self, search: Search, record: Record) -> Comparison:
        """Return how a candidate compares; longer where it seems to be the best so far."""
        write, threads = search.task.write, record.threads
        default = write({})
        candidate = _written(write, record.schedule)
        first = self._trials.compare(candidate, default, threads=threads, rounds=_ROUNDS)
        if first.ratio >= _PROMISING * search.ratio:
            return first
        return self._trials.compare(candidate, default, threads=threads, rounds=_MORE_ROUNDS)


def failed(record: Record, error: Exception) -> Record:
    """Return the record of a trial that failed."""
    return dataclasses.replace(record, error=str(error))


def _written(write: Callable[[Schedule], Native], schedule: Schedule) -> Native:
    try:
        return write(schedule)
    except Exception as error:
        raise TrialError(line_of(error)) from error
