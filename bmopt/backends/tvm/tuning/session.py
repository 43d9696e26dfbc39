"""Tuning as a part of a build: from the build's specification to schedules in a database."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from bmopt.backends.tvm.build_spec import BuildSpec
from bmopt.backends.tvm.importing import Native
from bmopt.backends.tvm.tuning.asked import TRIAL_S
from bmopt.backends.tvm.tuning.database import Database
from bmopt.backends.tvm.tuning.decisions import GENERATION, writing
from bmopt.backends.tvm.tuning.tasks import KernelWriter
from bmopt.backends.tvm.tuning.timing import Comparison
from bmopt.backends.tvm.tuning.trials import TrialError, Trials, Where
from bmopt.backends.tvm.tuning.tuner import Tuned, Tuner
from bmopt.core.tuning_budget import TuningBudget
from bmopt.errors import HostError

_STEPS = 1000
_ROUNDS = 60


def database_of(spec: BuildSpec, version: str) -> Database | None:
    """Return the database of a build, None where it has none.

    Raises:
        DatabaseError: The folder holds something else.
        OutputError: It cannot be written.
    """
    if not spec.database:
        return None
    identity = {
        "target": dict(spec.target),
        "place": spec.measured_on,
        "kernels": GENERATION,
    }
    return Database(Path(spec.database), version, identity)


def tuned(
    spec: BuildSpec,
    database: Database | None,
    lowered: Callable[[], Native],
    progress: TextIO,
) -> Tuned | None:
    """Spend a build's budget on the kernels of ``lowered``'s module; None where it has none.

    Where this host cannot measure them, a warning says so, and they stay as they are.

    Raises:
        BoardError: The board dropped off; what was finished is kept.
    """
    if not spec.tune or database is None:
        return None
    writer = KernelWriter()
    with writing(writer):
        tasks = writer.tasks(lowered())

    def tell(done: float, total: float) -> None:
        progress.write(f"{int(_STEPS * done / total)} {_STEPS}\n")
        progress.flush()

    where = Where(spec.target, spec.board, spec.compiler, TRIAL_S)
    threads = int(spec.target.get("num-cores", 1))
    budget = TuningBudget.parse(spec.tune)
    try:
        with Trials(where) as trials:
            found = Tuner(database, trials, budget, threads, tell).run(tasks)
    except HostError as error:
        reason = f"kernels have the schedules that are known: {error}"
        return Tuned(len(tasks), 0, 0, 0, 1.0, (reason,))
    return dataclasses.replace(found, warnings=(*found.warnings, *_left_out(writer)))


def compared_libraries(spec: BuildSpec, default: Path, candidate: Path) -> Comparison | None:
    """Return how the library ``candidate`` compares with ``default`` on one thread.

    None where that cannot be seen, as with inputs whose sizes depend on each other.
    """
    try:
        with Trials(Where(spec.target, limit_s=TRIAL_S)) as trials:
            return trials.compare_libraries(candidate, default, threads=1, rounds=_ROUNDS)
    except (TrialError, HostError):
        return None


def described(whole: Comparison | None) -> str:
    """Return what is to be said of a whole model's time, behind that of its kernels."""
    if whole is None:
        return ""
    return f", the model {whole.ratio:.1%} [{whole.low:.1%}, {whole.high:.1%}]"


def _left_out(writer: KernelWriter) -> tuple[str, ...]:
    if not writer.dynamic:
        return ()
    advice = "as their sizes are symbols: fix them with --shapes"
    return (f"{writer.dynamic} functions that TVM lowered are not tuned, {advice}",)
