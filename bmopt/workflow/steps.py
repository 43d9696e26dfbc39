"""Which steps keep an 8-bit model's accuracy: a preset's, or those that the user lists."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterable

from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.errors import UsageError
from bmopt.workflow.recipe import Recipe

STEPS = (
    "ranges",
    "equalize",
    "absorb",
    "least-squares",
    "scales",
    "rounding",
    "bias",
    "gain",
    "learned",
)
"""In the order in which they are taken."""

_PRESETS = {
    "fast": ("ranges", "bias", "gain"),
    "balanced": STEPS[:-1],
    "best": STEPS,
}


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps that are taken, by name.

    Attributes:
        names: Some of ``STEPS``, in that order.
    """

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> Steps:
        """Return the steps ``names`` in the order in which they are taken."""
        taken = set(names)
        return cls(tuple(name for name in STEPS if name in taken))

    def __contains__(self, name: str) -> bool:
        """Whether a step is taken."""
        return name in self.names

    @property
    def refines(self) -> bool:
        """Whether weights or biases change."""
        return self.refine is not None or "learned" in self

    @property
    def refine(self) -> RefineSteps | None:
        """What is done layer by layer; None for nothing."""
        found = RefineSteps(
            least_squares="least-squares" in self,
            scales="scales" in self,
            rounding="rounding" in self,
            bias="bias" in self,
            gain="gain" in self,
        )
        return found if any(dataclasses.astuple(found)) else None


def steps_of(recipe: Recipe) -> Steps:
    """Return the recipe's steps.

    A preset leaves out what needs torch where that is not installed.

    Raises:
        UsageError: It lists one that does not exist.
    """
    if not recipe.steps:
        able = importlib.util.find_spec("torch") is not None
        return Steps.of(name for name in _PRESETS[recipe.preset] if able or name != "learned")
    names = () if recipe.steps == "none" else tuple(recipe.steps.split(","))
    for name in names:
        if name not in STEPS:
            raise UsageError(f"unknown step {name!r}; steps are {', '.join(STEPS)}, or none")
    return Steps.of(names)
