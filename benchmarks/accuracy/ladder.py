"""What every rung of the ladder buys: the same model compiled with one step more at a time."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from shared_models import SharedModel

from accuracy.compiling import Compiled, compiled
from accuracy.results import Ladder, Step
from accuracy.store import Store


@dataclasses.dataclass(frozen=True)
class Rung:
    """A step of the ladder.

    Attributes:
        name: What the table calls it.
        steps: The steps that it adds, as ``--steps`` calls them.
        method: How ranges are chosen.
        module: The Python module that it takes; empty for none.
    """

    name: str
    steps: tuple[str, ...] = ()
    method: str = "auto"
    module: str = ""


RUNGS = (
    Rung("min-max, nearest", method="minmax"),
    Rung("+ ranges", ("ranges",)),
    Rung("+ equalisation", ("equalize",)),
    Rung("+ bias, gain", ("bias", "gain")),
    Rung("+ centred activations", ("absorb",)),
    Rung("+ rounding", ("rounding",)),
    Rung("+ least squares", ("least-squares",)),
    Rung("+ weight scales", ("scales",)),
    Rung("+ learned rounding", ("learned",), module="torch"),
)
"""From the bottom; each has the steps of all below it too."""


def rungs_here() -> list[Rung]:
    """Return the rungs whose modules are installed."""
    return [rung for rung in RUNGS if not rung.module or importlib.util.find_spec(rung.module)]


def flags_of(rung: Rung) -> tuple[str, ...]:
    """Return the options of ``bmopt compile`` for a rung with all below it."""
    below = RUNGS[: RUNGS.index(rung) + 1]
    steps = [name for one in below for name in one.steps]
    return ("--method", rung.method, "--steps", ",".join(steps) or "none")


def climb(
    model: SharedModel,
    target: str,
    flags: Sequence[str],
    folder: Path,
    store: Store,
    key: Sequence[object],
) -> Ladder:
    """Compile a model with every rung.

    Args:
        model: The model.
        target: The target.
        flags: Further options: samples and their number.
        folder: Where artifacts and logs go; each rung replaces those of the one below.
        store: Keeps what was found.
        key: What that depends on besides the rung and the options.
    """

    def step(rung: Rung) -> Step:
        all_flags = (*flags, *flags_of(rung))
        found = store.kept(
            f"ladder-{target}-{RUNGS.index(rung)}",
            [*key, target, *all_flags],
            Compiled,
            lambda: compiled(model, target, all_flags, folder),
            lambda one: not one.note,
        )
        note = f"failed: {found.note}" if found.note else ""
        return Step(rung.name, note, found.agreement, found.sqnr_db, found.seconds)

    return Ladder(target, tuple(map(step, rungs_here())))
