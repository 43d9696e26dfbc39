"""What a run of training is given, and what it gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from bmopt.core import digest
from bmopt.core.dataset import Dataset
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Array
from bmopt.graph.model_digest import model_digest
from bmopt.training.loop import Epoch
from bmopt.training.options import TrainOptions


@dataclasses.dataclass(frozen=True)
class Lesson:
    """Who learns what.

    Attributes:
        model: The float model that is trained; its weights are initialisers.
        teacher: The model that it is to be like; None for labels alone.
        data: Training samples.
        val: Samples that judge; None where some of the training samples are held out for that.
        plan: For a model that is trained for its quantised form: its plan.
        quantized: That form.
        checkpoint: Where a run's state is kept while it lasts; None for nowhere.
    """

    model: ir.Model
    data: Dataset
    teacher: ir.Model | None = None
    val: Dataset | None = None
    plan: QuantPlan | None = None
    quantized: ir.Model | None = None
    checkpoint: Path | None = None


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training found.

    Attributes:
        arrays: Initialiser -> what it is to hold, ``float32``.
        history: The start, and every epoch.
        metric: What judged: ``"top1"``, ``"agreement"`` or ``"error"``; empty for nothing.
        best_epoch: Number of the epoch whose weights these are; 0 where none was better than
            the start.
        stopped: Why it ended before its last epoch; empty where it did not.
        seconds: Training time.
        resumed_at: Step at which a killed run was taken up; 0 for a run of its own.
        device: Where it ran.
        precision: ``"fp32"`` or ``"bf16"``.
        samples: How many samples were learned from.
    """

    arrays: Mapping[str, Array]
    history: tuple[Epoch, ...]
    metric: str
    best_epoch: int
    stopped: str
    seconds: float
    resumed_at: int
    device: str
    precision: str
    samples: int

    @property
    def has_diverged(self) -> bool:
        """Whether a loss that is no number ended it."""
        return "not a number" in self.stopped


def run_digest(lesson: Lesson, options: TrainOptions) -> str:
    """Return the digest of everything that a run depends on."""
    return digest.of_json(
        [
            model_digest(lesson.model),
            None if lesson.teacher is None else model_digest(lesson.teacher),
            lesson.data.fingerprint,
            None if lesson.val is None else lesson.val.fingerprint,
            None if lesson.plan is None else lesson.plan.to_json(),
            dataclasses.asdict(options),
        ]
    )
