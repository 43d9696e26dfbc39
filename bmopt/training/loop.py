"""The training loop: steps, epochs, checkpoints, and when to stop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bmopt.core.runner import Array
from bmopt.differentiable.torch_access import Tensor
from bmopt.training import checkpoint
from bmopt.training.augment import Augment
from bmopt.training.judging import Judge
from bmopt.training.objective import Objective
from bmopt.training.optimizer import Optimizer
from bmopt.training.options import TrainOptions
from bmopt.training.samples import Indices, Samples, shuffled
from bmopt.training.schedule import Schedule
from bmopt.training.torch_run import TorchRun

Progress = Callable[[int, int], None]

_SAVE_SECONDS = 30.0
_BEST = "best/"
_NOW = "now/"
_OPTIMIZER = "optimizer/"


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        number: From 1; 0 is the start.
        loss: Mean loss of its steps, NaN for the start.
        metric: Of the samples that judge, NaN where there are none.
        seconds: Training time until its end.
    """

    number: int
    loss: float
    metric: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Material:
    """What a run works on.

    Attributes:
        run: Student and teacher.
        objective: The loss.
        samples: The training samples.
        which: Numbers of those that are learned from.
        judge: Judges the student after every epoch.
        augment: What is done to images; None for nothing.
    """

    run: TorchRun
    objective: Objective
    samples: Samples
    which: Indices
    judge: Judge
    augment: Augment | None


class Loop:
    """One run, from its start or from a checkpoint of it.

    Args:
        material: What it works on.
        options: How it goes.
        digest: Of everything that it depends on.
        path: Where its checkpoint is, None for none.
        progress: Told the steps done and the steps in all.
    """

    def __init__(
        self,
        material: Material,
        options: TrainOptions,
        digest: str,
        path: Path | None,
        progress: Progress | None = None,
    ) -> None:
        self._material = material
        self._options = options
        self._digest = digest
        self._path = path
        self._progress = progress
        self._steps_per_epoch = len(self._batches(0))
        self._schedule = Schedule(self._steps_per_epoch * options.most_epochs, options.seconds)
        self._optimizer = Optimizer(material.run.torch, material.run.student, options)
        self._step = 0
        self._losses: list[float] = []
        self._spent = 0.0
        self._began = time.monotonic()
        self._saved = self._began
        self.history: list[Epoch] = []
        self.best: dict[str, Array] = {}
        self.best_epoch = 0
        self.stopped = ""
        self.resumed_at = 0

    @property
    def seconds(self) -> float:
        """How long training has taken so far, the time before a resume included."""
        return self._spent + time.monotonic() - self._began

    def run(self) -> None:
        """Train until the end, and keep the best variables in ``best``."""
        if not self._resume():
            self._judge(math.nan)
        while not self.stopped and self._schedule.progress(self._step, self.seconds) < 1.0:
            self._epoch()

    def _epoch(self) -> None:
        number = self._step // self._steps_per_epoch
        batches = self._batches(number)
        for index in range(self._step % self._steps_per_epoch, len(batches)):
            if self._schedule.progress(self._step, self.seconds) >= 1.0:
                self.stopped = "its time was over" if self._options.epochs else ""
                break
            loss = self._learn(batches[index], [self._options.seed, 3, self._step])
            if not math.isfinite(loss):
                self.stopped = f"the loss is not a number in step {self._step + 1}"
                return
            self._losses.append(loss)
            self._step += 1
            self._tell()
        if not self._losses:
            return
        self._judge(sum(self._losses) / len(self._losses))
        self._losses = []
        self._stop_if_stuck()
        self._save()

    def _learn(self, which: Indices, seed: list[int]) -> float:
        material, run = self._material, self._material.run
        picked = material.samples.pick(which)
        feeds = run.feeds(picked.feeds)
        if material.augment is not None:
            name = material.augment.input
            rng = np.random.default_rng(seed)
            feeds[name] = material.augment.apply(run.torch, feeds[name], rng)
        self._optimizer.set_factor(self._schedule.factor(self._step, self.seconds))
        with run.precision():
            wanted = run.taught(feeds, material.objective.teacher_reads)
            found = run.student.run(feeds, material.objective.reads, is_training=True)
        loss = material.objective.loss(found, wanted, self._labels(picked.labels))
        value = float(loss.detach())
        if math.isfinite(value):
            self._optimizer.step(loss)
        return value

    def _labels(self, labels: Array | None) -> Tensor | None:
        run = self._material.run
        return None if labels is None else run.torch.from_numpy(labels).to(run.device)

    def _judge(self, loss: float) -> None:
        """Judge the student, and keep it if it is the best so far."""
        judge, number = self._material.judge, len(self.history)
        metric = math.nan if judge.is_empty else judge.value()
        self.history.append(Epoch(number, loss, metric, self.seconds))
        values = [each.metric for each in self.history[:-1]]
        if judge.is_empty or not values or metric > max(values):
            self.best, self.best_epoch = self._material.run.student.arrays(), number

    def _stop_if_stuck(self) -> None:
        waited = len(self.history) - 1 - self.best_epoch
        if self._options.patience and waited >= self._options.patience:
            self.stopped = self.stopped or f"no better for {waited} epochs"

    def _batches(self, epoch: int) -> list[Indices]:
        options = self._options
        return shuffled(self._material.which, options.batch, [options.seed, 2, epoch])

    def _tell(self) -> None:
        if self._progress is not None:
            done = self._schedule.progress(self._step, self.seconds)
            self._progress(round(done * self._schedule.steps), self._schedule.steps)
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._path is None:
            return
        groups: Mapping[str, Mapping[str, Array]] = {
            _NOW: self._material.run.student.arrays(),
            _BEST: self.best,
            _OPTIMIZER: self._optimizer.arrays(),
        }
        facts: dict[str, Any] = {
            "step": self._step,
            "seconds": self.seconds,
            "losses": self._losses,
            "history": [dataclasses.asdict(each) for each in self.history],
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "metric": self._material.judge.metric,
        }
        arrays = {p + name: array for p, group in groups.items() for name, array in group.items()}
        checkpoint.save(self._path, self._digest, checkpoint.State(facts, arrays))

    def _resume(self) -> bool:
        """Go on where a checkpoint of this run stands; return whether there is one."""
        state = None if self._path is None else checkpoint.load(self._path, self._digest)
        if state is None:
            return False
        facts = state.facts
        self._step, self._spent = int(facts["step"]), float(facts["seconds"])
        self._losses = [float(loss) for loss in facts["losses"]]
        self.history = [Epoch(**each) for each in facts["history"]]
        self.best_epoch, self.stopped = int(facts["best_epoch"]), str(facts["stopped"])
        self._material.judge.metric = str(facts["metric"])
        self.best = _group(state.arrays, _BEST)
        self._material.run.student.load(_group(state.arrays, _NOW))
        self._optimizer.load(_group(state.arrays, _OPTIMIZER))
        self.resumed_at = self._step
        self._began = time.monotonic()
        return True


def _group(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
