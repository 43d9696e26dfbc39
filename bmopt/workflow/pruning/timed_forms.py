"""Cut models in the precision of the target, as they are timed and never shipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx_ir as ir

from bmopt.core.runner import Feeds
from bmopt.core.target import QUANTIZED
from bmopt.data.feeds import FeedDataset
from bmopt.graph.model_io import input_specs
from bmopt.workflow.lowering import lower
from bmopt.workflow.preparing import Job
from bmopt.workflow.progress import Quiet

_SAMPLES = 8


class TimedForms:
    """Brings float models to the precisions that the reference engine times them in.

    Integers are timed as such where the target runs on that engine: their kernels like other
    widths than those for floats do. Which ranges they have changes no times, so a few samples are
    enough. Narrow layers may be faster in float, where the target's placement then leaves them: so
    the float model is timed as well.

    Args:
        job: The job as models are tried.
        pool: Feeds of it.
    """

    def __init__(self, job: Job, pool: Sequence[Feeds]) -> None:
        self._job = dataclasses.replace(job, progress=Quiet())
        self._pool = pool

    def __call__(self, model: ir.Model) -> list[ir.Model]:
        """Return the model in the target's precision, and where that is of integers in float."""
        job = self._job
        is_integer = job.target.precision in QUANTIZED and job.calib is not None
        if not is_integer or job.target.engine != "ort":
            return [model]
        recipe = dataclasses.replace(job.recipe, placement="all", method="minmax")
        pool = self._pool[:_SAMPLES]
        samples = FeedDataset("widths", input_specs(model), lambda: list(pool), None)
        few = dataclasses.replace(job, calib=samples, recipe=recipe)
        return [lower(few, model.clone()).model, model]
