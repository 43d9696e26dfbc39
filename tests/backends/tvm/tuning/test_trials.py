"""Trials with kernels that are measured, that crash, that hang, and that compute nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmopt.backends.tvm import probe
from bmopt.core.tuning_budget import TuningBudget
from tests.backends.tvm.installed import needs_tvm

if not probe.why_not():
    from tvm import tirx

    from bmopt.backends.tvm.lowering.stmts import (
        function,
        load,
        loop,
        real,
        seq,
        store,
        tensor,
    )
    from bmopt.backends.tvm.tuning.database import Database
    from bmopt.backends.tvm.tuning.tasks import Schedule, Task
    from bmopt.backends.tvm.tuning.trials import TrialError, Trials, Where
    from bmopt.backends.tvm.tuning.tuner import Tuner

pytestmark = needs_tvm

TARGET = {"kind": "llvm", "num-cores": 2}
_SIZE = 64


def kernel(factor: float = 2.0, turns: int = 1, index: int = 0) -> Any:
    """Return ``out = factor * source``, computed so many times over."""
    source, out = tensor("source", [_SIZE]), tensor("out", [_SIZE])

    def element(i: Any) -> Any:
        return store(out, load(source, i + index) * real(factor), i)

    once = loop("i", _SIZE, element)
    # What another turn adds cannot be left out by the compiler.
    again = loop("t", turns, lambda t: loop("j", _SIZE, lambda j: store(
        out, load(out, j) + tirx.Cast("float32", t) * real(1e-20), j
    )))  # fmt: skip
    return function([source, out], seq(once, again), "scale")


@pytest.fixture(scope="module")
def trials() -> Iterator[Any]:
    with Trials(Where(TARGET, limit_s=3)) as trials:
        yield trials


def test_a_slower_kernel_is_seen_to_be_slower(trials: Any) -> None:
    fast, slow = kernel(turns=2), kernel(turns=60)
    assert trials.time_us(slow, threads=1) > trials.time_us(fast, threads=1) > 0
    found = trials.compare(fast, slow, threads=1, rounds=8)
    assert found.high < 0.9


def test_one_that_computes_something_else_fails(trials: Any) -> None:
    with pytest.raises(TrialError, match="computes something else"):
        trials.compare(kernel(factor=2.1), kernel(), threads=1, rounds=8)


def test_one_that_crashes_or_hangs_costs_that_trial(trials: Any) -> None:
    with pytest.raises(TrialError, match="SIGSEGV"):
        trials.compare(kernel(index=1 << 40), kernel(), threads=1, rounds=8)
    with pytest.raises(TrialError, match="did not answer for 3 s"):
        trials.compare(kernel(turns=1 << 40), kernel(), threads=1, rounds=8)
    assert trials.compare(kernel(), kernel(), threads=1, rounds=8).rounds == 8


def tuner(folder: Path, trials: Any, budget: str) -> Any:
    database = Database(folder, "1", {"target": TARGET})
    return Tuner(database, trials, TuningBudget.parse(budget), 2, lambda *_: None), database


def tasks() -> list[Any]:
    """Return a task whose default is slow, and one that a candidate of crashes."""

    def turns(schedule: Schedule) -> Any:
        return kernel(turns=int(schedule.get("turns", 40)))

    def wild(schedule: Schedule) -> Any:
        return kernel(index=int(schedule.get("index", 0)))

    return [
        Task("a", "turns", turns, {"turns": (40, 30, 2)}, calls=3),
        Task("b", "wild", wild, {"index": (0, 1 << 40)}),
    ]


def test_tuning_finds_what_is_faster_and_survives_what_crashes(
    trials: Any, tmp_path: Path
) -> None:
    run, database = tuner(tmp_path, trials, "50")
    found = run.run(tasks())
    assert database.chosen("a") == {"turns": 2}
    assert database.chosen("b") == {}
    assert (found.tasks, found.improved, found.trials, found.failed) == (2, 1, 3, 1)
    assert found.ratio < 0.9
    assert str(found).startswith("1 of 2 kernels tuned in 3 trials, 1 failed; kernels take ")


def test_a_second_run_does_only_what_is_missing(trials: Any, tmp_path: Path) -> None:
    first, _ = tuner(tmp_path, trials, "1")
    assert first.run(tasks()).trials == 1
    again, database = tuner(tmp_path, trials, "1")
    assert again.run(tasks()).trials == 1
    assert sum(len(database.of(key)) for key in "ab") == 1
    more, database = tuner(tmp_path, trials, "2")
    assert more.run(tasks()).trials == 2
    assert sum(len(database.of(key)) for key in "ab") == 2
