"""How much tuning may cost: so many trials, or so much time."""

from __future__ import annotations

import dataclasses
import math
import re

from bmopt.errors import UsageError

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_TRIALS = re.compile(r"0*[1-9][0-9]{0,8}")
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)(s|min|h)")


@dataclasses.dataclass(frozen=True)
class TuningBudget:
    """A budget; one of the two is a limit.

    Attributes:
        trials: Candidates that may be measured.
        seconds: Time that measuring them may take.
    """

    trials: float = math.inf
    seconds: float = math.inf

    @classmethod
    def parse(cls, text: str) -> TuningBudget:
        """Return the budget that ``200``, ``90s``, ``20min`` or ``1h`` means.

        Raises:
            UsageError: It means nothing.
        """
        if _TRIALS.fullmatch(text):
            return cls(trials=int(text))
        found = _TIME.fullmatch(text)
        if found is None or not float(found[1]) > 0:
            raise UsageError(
                f"tune {text!r}: give a number of trials (200), or a time (90s, 20min, 1h)"
            )
        return cls(seconds=float(found[1]) * _UNITS[found[2]])
