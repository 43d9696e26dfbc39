"""How much is to go, as text and as values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from bmopt.errors import UsageError
from bmopt.workflow.pruning.budget import PruneBudget

_DROP = "drop"
_PLAN_SUFFIX = ".json"


@dataclasses.dataclass(frozen=True)
class PruneWish:
    """How much is to go.

    Attributes:
        budget: What is to be left; None to look for the cheapest model within ``max_drop``.
        max_drop: Points of the metric that may be lost; None where the budget alone decides.
        plan: File of a plan to follow instead.
        sparsity: Pattern of zeros that the weights get after that, as ``2:4``; empty for none.
        multiple: Widths are multiples of this; 0 for what the kernels of the engine like.
    """

    budget: PruneBudget | None = None
    max_drop: float | None = None
    plan: str = ""
    sparsity: str = ""
    multiple: int = 0

    @classmethod
    def parse(cls, text: str) -> PruneWish:
        """Parse ``latency=R``, ``macs=R``, ``parameters=R``, ``drop=POINTS`` or a plan's file.

        Raises:
            UsageError: It is none of these.
        """
        kind, _, number = text.rpartition("=")
        if kind == _DROP:
            return cls(max_drop=_points(number)).checked()
        if text.endswith(_PLAN_SUFFIX):
            return cls(plan=text)
        return cls(PruneBudget.parse(text))

    @classmethod
    def of(
        cls,
        *,
        budgets: Mapping[str, str | float | None],
        max_drop: float | None = None,
        plan: str = "",
        sparsity: str = "",
        multiple: int = 0,
    ) -> PruneWish:
        """Return a wish of options as they were given.

        Args:
            budgets: Kind -> the part that is to be left; those of None are not meant.
            max_drop: Points of the metric.
            plan: File of a plan.
            sparsity: Pattern of zeros.
            multiple: Of widths.

        Raises:
            UsageError: Nothing is asked for, or two things at once, or a part is none.
        """
        given = [f"{kind}={part}" for kind, part in budgets.items() if part]
        if len(given) > 1:
            raise UsageError("give one of --latency, --macs and --parameters")
        budget = PruneBudget.parse(given[0]) if given else None
        return cls(budget, max_drop, plan, sparsity, multiple).checked()

    @property
    def cuts(self) -> bool:
        """Whether channels are to go."""
        return self.budget is not None or self.max_drop is not None or bool(self.plan)

    def checked(self) -> PruneWish:
        """Return the wish.

        Raises:
            UsageError: Nothing is asked for, or two things at once.
        """
        asked = sum([self.budget is not None, self.max_drop is not None, bool(self.plan)])
        if asked > 1 or (asked == 0 and not self.sparsity):
            raise UsageError(
                "say how much may go, by one of --latency, --macs, --parameters, --max-drop and "
                "--plan, or --sparsity"
            )
        if self.max_drop is not None and not 0.0 <= self.max_drop < math.inf:
            raise UsageError(f"max-drop {self.max_drop:g}: give points of the metric, as 1.0")
        return self


def _points(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"prune drop={text}: give points of the metric, as drop=1.0") from error
