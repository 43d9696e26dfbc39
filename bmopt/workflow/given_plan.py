"""A plan that the user gives back, edited or not."""

from __future__ import annotations

from pathlib import Path

from bmopt.core.plan import QuantPlan
from bmopt.errors import QuantizationError, UsageError
from bmopt.workflow.attempts import Approach
from bmopt.workflow.choosing import Calibrate, variants
from bmopt.workflow.preparing import Job
from bmopt.workflow.quantizing import Quantizer
from bmopt.workflow.steps import Steps


def given_approach(job: Job, quantizer: Quantizer, path: Path, calibrate: Calibrate) -> Approach:
    """Return the approach of the plan in a file, on the model that it is for.

    That is the float model as it is, or rewritten again as it was for the plan.

    Raises:
        UsageError: The file cannot be read.
        QuantizationError: It is no plan, or one for another model or scheme.
    """
    plan = read_plan(path)
    if plan.scheme != quantizer.scheme.name:
        raise QuantizationError(
            f"{path}: is a plan for {plan.scheme}, this target is {quantizer.scheme.name}"
        )
    if plan.source and plan.float_model == quantizer.table.model:
        steps = Steps.of({*plan.steps, "bias"})
        found = variants(job, quantizer, steps, calibrate)
        quantizer = next((one for one in found if one.table.model == plan.model), quantizer)
    plan.require_model(quantizer.table.model)
    return Approach(quantizer, given=plan)


def read_plan(path: Path) -> QuantPlan:
    """Return the plan in a file.

    Raises:
        UsageError: The file cannot be read.
        QuantizationError: It is no plan.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise UsageError(f"{path}: cannot be read ({reason})") from error
    return QuantPlan.from_json(text, source=str(path))
