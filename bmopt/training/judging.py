"""How good a student is on samples that it does not learn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from bmopt.core.runner import Array
from bmopt.differentiable.torch_access import Tensor
from bmopt.training.objective import Objective
from bmopt.training.samples import Indices, Picked, Samples
from bmopt.training.torch_run import TorchRun

_BATCH = 256


@dataclasses.dataclass
class Judge:
    """Samples that judge.

    Attributes:
        run: Where and how models run.
        samples: The samples.
        which: Numbers of those that judge.
        objective: Names of the tensors that are compared.
        metric: ``"top1"`` where there are labels and scores of classes, ``"agreement"`` of the
            best class with the teacher's where there are no labels, else ``"error"``: the
            squared error relative to the teacher's values.
    """

    run: TorchRun
    samples: Samples
    which: Indices
    objective: Objective
    metric: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there are no samples to judge by."""
        return not len(self.which)

    def value(self) -> float:
        """Return the metric of the student as it is; of ``"error"`` the negative."""
        total, count = 0.0, 0
        for picked in self.samples.batches(self.which, _BATCH):
            size = len(next(iter(picked.feeds.values())))
            total += self._score(picked)
            count += size if self.metric != "error" else 1
        return total / count

    def _score(self, picked: Picked) -> float:
        """Return how many samples are right, or the negative error of the batch."""
        feeds = self.run.feeds(picked.feeds)
        objective = self.objective
        with self.run.torch.no_grad(), self.run.precision():
            found = self.run.student.run(feeds, objective.reads)
            scores = objective.scores(found)
            if scores is not None and picked.labels is not None:
                self.metric = "top1"
                return float(np.sum(_best(scores) == picked.labels))
            wanted = self.run.taught(feeds, list(objective.theirs.values()))
        if scores is not None:
            self.metric = "agreement"
            return float(np.sum(_best(scores) == _best(self._theirs(wanted))))
        self.metric = "error"
        return -self._error(found, wanted)

    def _theirs(self, wanted: Mapping[str, Tensor]) -> Tensor:
        first = next(out for out in self.objective.shared)
        tensor = wanted[self.objective.theirs[first.name]]
        return tensor.reshape(len(tensor), -1)

    def _error(self, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
        parts = []
        for out in self.objective.shared:
            theirs = wanted[self.objective.theirs[out.name]].float()
            power = float(theirs.square().mean())
            parts.append(float((found[out.read].float() - theirs).square().mean()) / (power or 1))
        return sum(parts) / len(parts)


def _best(scores: Tensor) -> Array:
    best: Array = scores.argmax(dim=1).cpu().numpy()
    return best
