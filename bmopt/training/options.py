"""How a model is trained."""

from __future__ import annotations

import dataclasses
from typing import Literal

from bmopt.errors import UsageError

Optimizer = Literal["adam", "sgd"]
Precision = Literal["auto", "fp32", "bf16"]
Norms = Literal["auto", "none"]

AUTO = "auto"

_EPOCHS = 10
_ENDLESS = 1_000_000
_RATES = {"adam": 1e-3, "sgd": 2e-2}


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """What bounds and steers the training.

    Attributes:
        epochs: How often every sample is seen; 0 for 10, or for as often as ``seconds`` allow.
        seconds: Time after which training ends even so; the learning rate falls with whichever
            is nearer to its end. None for no limit. What a run with a limit computes depends on
            the machine's speed.
        optimizer: ``"adam"`` or ``"sgd"`` with Nesterov's momentum of 0.9.
        learning_rate: The largest one; 0 for the optimiser's usual one.
        weight_decay: Of the weights of products, decoupled from the gradient with Adam.
        batch: Samples per step.
        temperature: Scores of student and teacher are divided by it before they are compared.
        label_weight: Share of the labels in the loss, the rest is the teacher's; None for a half
            where there are both.
        smoothing: Share of a label that is spread over all classes.
        features: Names of tensors that are to be like the teacher's; ``auto`` stands for the
            ends of residual blocks.
        feature_weight: Weight of their loss, which is about 1 where nothing is alike.
        augment: ``"flip"`` (left to right) and ``"crop:N"`` (shifted by up to N pixels).
        hold_out: Share of the training samples that only judge, where no others are given. A
            model that was trained on these samples before looks better on them than it is.
        patience: Epochs without a better metric after which training ends; 0 for never.
        norms: ``"auto"``: every convolution without one gets a BatchNormalization while it is
            trained, which is folded into it again; not for integers. ``"none"``.
        freeze: Names or globs of constants that are not trained.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        precision: ``"fp32"``, ``"bf16"``, or ``"auto"``: bfloat16 products where the processor
            has instructions for them and nothing is quantised.
        threads: Threads on a CPU; 0 leaves it to torch.
        seed: Of the order of samples, their augmentation and the split.
    """

    epochs: int = 0
    seconds: float | None = None
    optimizer: Optimizer = "adam"
    learning_rate: float = 0.0
    weight_decay: float = 5e-4
    batch: int = 128
    temperature: float = 4.0
    label_weight: float | None = None
    smoothing: float = 0.0
    features: tuple[str, ...] = ()
    feature_weight: float = 1.0
    augment: tuple[str, ...] = ()
    hold_out: float = 0.05
    patience: int = 0
    norms: Norms = "auto"
    freeze: tuple[str, ...] = ()
    device: str = AUTO
    precision: Precision = "auto"
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.epochs >= 0, f"epochs {self.epochs}: give 1 or more")
        _require(self.batch >= 1, f"batch {self.batch}: give 1 sample or more")
        _require(self.optimizer in _RATES, f"optimizer {self.optimizer!r}: adam or sgd")
        _require(
            self.precision in ("auto", "fp32", "bf16"),
            f"precision {self.precision!r}: auto, fp32 or bf16",
        )
        _require(self.norms in ("auto", "none"), f"norms {self.norms!r}: auto or none")
        _require(self.learning_rate >= 0, f"learning rate {self.learning_rate:g}: is below 0")
        _require(self.temperature > 0, f"temperature {self.temperature:g}: give more than 0")
        _require(
            self.label_weight is None or 0 <= self.label_weight <= 1,
            f"label weight {self.label_weight}: give a share from 0 to 1",
        )
        _require(0 <= self.hold_out < 1, f"hold-out {self.hold_out:g}: give a share below 1")
        _require(self.seconds is None or self.seconds > 0, "time: give more than 0 seconds")

    @property
    def most_epochs(self) -> int:
        """How many epochs there are at most."""
        return self.epochs or (_EPOCHS if self.seconds is None else _ENDLESS)

    @property
    def rate(self) -> float:
        """The largest learning rate."""
        return self.learning_rate or _RATES[self.optimizer]


def _require(is_right: bool, message: str) -> None:
    if not is_right:
        raise UsageError(message)
