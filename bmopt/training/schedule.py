"""How the learning rate goes, and when training ends."""

from __future__ import annotations

import dataclasses
import math

_WARM_UP = 0.03


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Steps and time of a run.

    Attributes:
        steps: How many steps there are at most.
        seconds: Time after which it ends even so; None for no limit.
    """

    steps: int
    seconds: float | None = None

    def progress(self, step: int, seconds: float) -> float:
        """Return how much of the run is done after ``step`` steps, 1 at its end."""
        by_time = 0.0 if self.seconds is None else seconds / self.seconds
        return min(1.0, max(step / self.steps, by_time))

    def factor(self, step: int, seconds: float) -> float:
        """Return what the largest learning rate is multiplied by.

        It rises for a short while and falls along half a cosine to 0 (I. Loshchilov and
        F. Hutter, "SGDR", 2017).
        """
        done = self.progress(step, seconds)
        if done < _WARM_UP:
            first = (done + 1.0 / self.steps) / _WARM_UP
            return min(1.0, first)
        return 0.5 * (1.0 + math.cos(math.pi * (done - _WARM_UP) / (1.0 - _WARM_UP)))
