"""What a recipe asks of accuracy, checked before any work is done."""

from __future__ import annotations

from bmopt.bench.budget import AUTO, NO_METRIC, Budget
from bmopt.bench.metric_text import parse_metric
from bmopt.differentiable.torch_access import require_torch
from bmopt.errors import UsageError
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.steps import steps_of


def budget_in(recipe: Recipe) -> Budget | None:
    """Return the recipe's budget, None where it has none.

    Raises:
        UsageError: Its limits make no sense for its metric.
    """
    if not recipe.has_budget:
        return None
    return Budget(
        recipe.metric,
        recipe.max_drop if recipe.max_drop >= 0 else None,
        float(recipe.min_metric) if recipe.min_metric else None,
    )


def require_accuracy_options(recipe: Recipe, *, has_val: bool) -> None:
    """Check metric, budget and steps.

    Raises:
        UsageError: One does not exist, makes no sense or needs torch, which is not installed; or
            a budget has no samples to be judged on.
    """
    if "learned" in steps_of(recipe):
        require_torch()
    if recipe.metric not in (AUTO, NO_METRIC):
        parse_metric(recipe.metric)
    if budget_in(recipe) is not None and not has_val:
        raise UsageError(
            "a budget is judged on samples that were not calibrated on: give --val DATA"
        )
