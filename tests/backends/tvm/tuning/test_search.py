from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from bmopt.backends.tvm.tuning.database import Record
from bmopt.backends.tvm.tuning.search import Search, TraceSearch, foreseen, minimal
from bmopt.backends.tvm.tuning.tasks import Schedule, Task
from bmopt.backends.tvm.tuning.timing import Comparison

OPTIONS = {"tile": ((1, 4, 2), (2, 2, 2), (1, 8, 1)), "unroll": (1, 2, 4), "shared": (0, 1)}


def task(calls: int = 1, options: Mapping[str, tuple[object, ...]] = OPTIONS) -> Task:
    return Task("key", "a kernel", lambda _: None, options, calls=calls)  # type: ignore[arg-type]


def record(schedule: Schedule, ratio: float, noise: float = 0.005) -> Record:
    found = Comparison(ratio, ratio - noise, ratio + noise, 10.0, 40)
    return Record("key", schedule, 0.5, 1, found)


def test_it_tries_all_there_is_to_try_around_the_best_once() -> None:
    search = Search(task(), 10.0)
    tried: list[Schedule] = []
    while (schedule := search.next()) is not None:
        tried.append(schedule)
        search.take(record(schedule, 1.0))
    assert search.is_over
    assert search.trials == 2 + 2 + 1
    assert all(len(one) == 1 for one in tried)
    # Options that a kernel's own model ranks second come before those that it ranks third.
    assert tried[:3] == [{"tile": (2, 2, 2)}, {"unroll": 2}, {"shared": 1}]


def test_it_finds_the_best_where_decisions_depend_on_none_other() -> None:
    gains = {"tile": (1.0, 1.02, 0.9), "unroll": (1.0, 0.95, 1.1), "shared": (1.0, 0.97)}

    def ratio(schedule: Schedule) -> float:
        found = 1.0
        for name, many in OPTIONS.items():
            found *= gains[name][many.index(schedule.get(name, many[0]))]  # type: ignore[arg-type]
        return found

    search = Search(task(), 10.0)
    while (schedule := search.next()) is not None:
        search.take(record(schedule, ratio(schedule), 0.001))
    assert search.best is not None
    assert search.best.schedule == {"tile": (1, 8, 1), "unroll": 2, "shared": 1}
    combinations = len(list(itertools.product(*OPTIONS.values())))
    assert search.trials < combinations - 1


def test_noise_is_no_gain() -> None:
    search = Search(task(), 10.0)
    search.take(record({"unroll": 2}, 0.9, noise=0.2))
    assert search.best is None
    assert search.ratio == 1.0


def test_a_failed_trial_is_not_made_again() -> None:
    search = Search(task(), 10.0)
    failed = search.next()
    assert failed is not None
    search.take(Record("key", failed, 30.0, 1, None, "it crashed"))
    assert search.has_tried(failed)
    assert search.next() != failed


def test_a_trial_goes_to_what_takes_the_models_time_and_still_gains() -> None:
    much, little = Search(task(calls=4), 100.0), Search(task(), 10.0)
    assert much.promise(410.0) > little.promise(410.0) > 0
    while much.promise(410.0) >= little.promise(410.0):
        schedule = much.next()
        if schedule is None:
            break
        much.take(record(schedule, 1.0))
    assert little.promise(410.0) > 0
    assert Search(task(), 0.1).promise(410.0) == 0


def test_what_is_foreseen_weighs_kernels_by_their_calls() -> None:
    one, other = Search(task(calls=3), 100.0), Search(task(), 100.0)
    one.take(record({"unroll": 2}, 0.8))
    assert foreseen([one, other]) == pytest.approx(0.85)
    assert foreseen([]) == 1.0


def test_a_schedule_is_written_without_what_is_the_default() -> None:
    given = {"tile": (1, 4, 2), "unroll": 4, "gone": 7, "shared": 9}
    assert minimal(given, OPTIONS) == {"unroll": 4}  # type: ignore[arg-type]


def test_traces_are_asked_for_with_those_that_are_known() -> None:
    asked: list[int] = []

    def propose(known: object, count: int) -> list[str]:
        asked.append(len(list(known)))  # type: ignore[call-overload]
        return [f"trace {asked[-1]} {n}" for n in range(count)] if len(asked) < 3 else []

    search = TraceSearch(task(options={}), 10.0, propose)
    while (schedule := search.next()) is not None:
        search.take(record(schedule, 1.0))
    assert asked == [0, 8, 16]
    assert search.trials == 16
    assert search.is_over
