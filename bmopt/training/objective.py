"""What training makes small: the labels' loss, the teacher's, and that of features.

Knowledge distillation after G. Hinton et al., "Distilling the Knowledge in a Neural Network",
2015: the divergence of softened scores, times the square of the temperature so that its gradients
keep their size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.errors import UsageError
from bmopt.training.features import distance
from bmopt.training.options import TrainOptions
from bmopt.training.outputs import Output, class_scores


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss of a batch.

    Attributes:
        torch: The torch module.
        options: Weights and temperature.
        outputs: Of the student.
        theirs: Output -> the teacher's tensor that it is compared with; empty without a teacher.
        features: Names of tensors that are compared as well.
        label_weight: Share of the labels.
    """

    torch: Torch
    options: TrainOptions
    outputs: tuple[Output, ...]
    theirs: Mapping[str, str]
    features: tuple[str, ...]
    label_weight: float

    @property
    def reads(self) -> list[str]:
        """Names of the student's tensors that the loss needs."""
        return list(dict.fromkeys([*(out.read for out in self.outputs), *self.features]))

    @property
    def teacher_reads(self) -> list[str]:
        """Names of the teacher's tensors that the loss needs."""
        needed = self.label_weight < 1
        outputs = self.theirs.values() if needed else ()
        return list(dict.fromkeys([*outputs, *self.features]))

    def loss(
        self,
        found: Mapping[str, Tensor],
        wanted: Mapping[str, Tensor],
        labels: Tensor | None,
    ) -> Tensor:
        """Return the loss of a batch, a tensor without axes.

        Args:
            found: The student's tensors.
            wanted: The teacher's.
            labels: ``int64 [N]``, None where there are none.

        Raises:
            UsageError: No output holds scores of classes, which labels are compared with.
        """
        total = 0.0
        if self.label_weight > 0 and labels is not None:
            total = total + self.label_weight * self._labels(found, labels)
        if self.label_weight < 1 and self.theirs:
            parts = [self._beside(found[o.read], wanted[self.theirs[o.name]]) for o in self.shared]
            total = total + (1 - self.label_weight) * sum(parts) / len(parts)
        ways = [distance(found[name], wanted[name]) for name in self.features]
        known = [way for way in ways if way is not None]
        if known:
            total = total + self.options.feature_weight * sum(known) / len(known)
        return total

    @property
    def shared(self) -> list[Output]:
        """The outputs that the teacher has too."""
        return [out for out in self.outputs if out.name in self.theirs]

    def scores(self, found: Mapping[str, Tensor]) -> Tensor | None:
        """Return the first output that holds scores of classes, ``[N, classes]``."""
        every = (class_scores(found[out.read]) for out in self.outputs)
        return next((scores for scores in every if scores is not None), None)

    def _labels(self, found: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        scores = self.scores(found)
        if scores is None:
            raise UsageError(
                "labels are compared with scores of classes, [N, classes], which the model has "
                "not; give --teacher and --label-weight 0"
            )
        functional = self.torch.nn.functional
        return functional.cross_entropy(
            scores.float(), labels, label_smoothing=self.options.smoothing
        )

    def _beside(self, mine: Tensor, theirs: Tensor) -> Tensor:
        """Return the divergence of scores, or the relative error of other values."""
        scores, wanted = class_scores(mine), class_scores(theirs)
        if scores is None or wanted is None:
            scale = theirs.float().square().mean().clamp_min(1e-12)
            return (mine.float() - theirs.float()).square().mean() / scale
        heat = self.options.temperature
        functional = self.torch.nn.functional
        return heat**2 * functional.kl_div(
            functional.log_softmax(scores.float() / heat, dim=1),
            functional.log_softmax(wanted.float() / heat, dim=1),
            reduction="batchmean",
            log_target=True,
        )
