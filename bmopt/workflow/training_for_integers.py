"""A lesson on the grids of a target's integers: ranges, plan and Q/DQ graph, before training."""

from __future__ import annotations

import dataclasses

from bmopt.backends.registry import backend_for, reference
from bmopt.calibration.plan import make_plan
from bmopt.core.scheme import Scheme
from bmopt.core.target import QUANTIZED, Target
from bmopt.errors import QuantizationError, UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.opset import raise_opset
from bmopt.optimizer.passes.quantize import Quantize
from bmopt.optimizer.pipeline import Pipeline
from bmopt.training.lesson import Lesson
from bmopt.workflow.progress import Progress
from bmopt.workflow.quantizing import lacks_integers
from bmopt.workflow.ranging import calibrated
from bmopt.workflow.samples import Head

_SAMPLES = 512
_BATCH = 32
_EIGHT_BITS = ("int8", "uint8")


def prepared_for_integers(
    lesson: Lesson, target: str, keep_float: tuple[str, ...], progress: Progress
) -> Lesson:
    """Return the lesson with the plan of a target, and the Q/DQ graph that is trained.

    Ranges are those of the first 512 training samples, and the placement follows the target's
    rules.

    Raises:
        UsageError: The target is not one of 8-bit integers.
        QuantizationError: Nothing in the model can run in integers.
        CalibrationError: A tensor became NaN.
    """
    parsed = Target.parse(target)
    scheme = _scheme(parsed)
    if scheme is None or scheme.weight.dtype not in _EIGHT_BITS:
        raise UsageError(f"--qat {target}: is no target of 8-bit integers, such as ort-int8")
    model = raise_opset(lesson.model.clone(), scheme.min_opset)
    if scheme.prepare:
        model = Pipeline.parse(scheme.prepare).run(model).model
    progress.step("calibrate")
    table = calibrated(
        model,
        Head(lesson.data, _SAMPLES),
        reference(),
        batch_size=_BATCH,
        threads=1,
        progress=progress,
    )
    plan = make_plan(model, table, scheme, method="mse", keep_float=keep_float)
    if reason := lacks_integers(model, plan):
        raise QuantizationError(f"nothing runs in the integers of {target}: {reason}")
    plan = dataclasses.replace(plan, model=model_digest(model))
    quantized = Quantize(plan)(model.clone()).model
    return dataclasses.replace(lesson, model=model, plan=plan, quantized=quantized)


def _scheme(target: Target) -> Scheme | None:
    if target.precision not in QUANTIZED:
        return None
    backend = backend_for(target)
    return backend.scheme(backend.resolve(target))
