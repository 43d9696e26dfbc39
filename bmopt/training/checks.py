"""What can be wrong with a lesson, found before anything is learned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmopt.differentiable.torch_access import Tensor
from bmopt.errors import DataError, ModelError, UsageError
from bmopt.training.lesson import Lesson
from bmopt.training.objective import Objective
from bmopt.training.options import TrainOptions
from bmopt.training.samples import Samples
from bmopt.training.torch_run import TorchRun

_COUNTS = (2, 3)
"""A model may have been exported for one of them, but not for both."""


def require_labels(lesson: Lesson, options: TrainOptions) -> None:
    """Raise ``DataError`` where there are no labels and they are needed."""
    if lesson.data.has_labels:
        return
    if lesson.teacher is None:
        raise DataError(
            f"{lesson.data.name}: has no labels, and without a teacher they are needed; add "
            "y=KEY or labels=FILE to it, or give --teacher"
        )
    if options.label_weight:
        raise DataError(
            f"{lesson.data.name}: has no labels for --label-weight {options.label_weight:g}"
        )


def require_batches(run: TorchRun, objective: Objective, samples: Samples) -> None:
    """Check that the models run, and take any number of samples at once.

    Raises:
        ModelError: They do not.
        DataError: Labels are of classes that the model has not.
        UsageError: There are no scores of classes to compare labels with.
    """
    for count in {min(count, samples.size) for count in _COUNTS}:
        found = _found(run, objective, samples, count)
    if objective.label_weight and samples.labels is not None:
        _require_classes(objective, found, samples)


def _found(run: TorchRun, objective: Objective, samples: Samples, count: int) -> dict[str, Tensor]:
    picked = samples.pick(np.arange(count))
    feeds = run.feeds(picked.feeds)
    try:
        with run.torch.no_grad():
            found = run.student.run(feeds, objective.reads)
            found |= run.taught(feeds, list(objective.theirs.values()))
    except (RuntimeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"the model does not run in torch with {count} samples at once ({reason}); export it "
            "with a dynamic batch axis"
        ) from error
    for out in objective.outputs:
        tensor = found[out.read]
        if not tensor.dim() or len(tensor) != count:
            raise ModelError(
                f"output {out.name!r} has no sample axis with {count} samples at once; export "
                "the model with a dynamic batch axis"
            )
    return found


def _require_classes(objective: Objective, found: Mapping[str, Tensor], samples: Samples) -> None:
    scores = objective.scores(found)
    if scores is None:
        raise UsageError(
            "labels are compared with scores of classes, [N, classes], which the model has not; "
            "give --teacher and --label-weight 0"
        )
    assert samples.labels is not None
    low, high = int(samples.labels.min()), int(samples.labels.max())
    if low < 0 or high >= scores.shape[1]:
        raise DataError(
            f"labels go from {low} to {high}, and the model has {scores.shape[1]} classes"
        )
