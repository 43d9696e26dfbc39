"""Gradient descent on roundings and biases, with a regulariser that is sharpened step by step."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bmopt.calibration.learned.moving import Moving
from bmopt.calibration.learned.options import LearnOptions
from bmopt.differentiable.torch_access import Tensor, Torch

_WARM_UP = 0.2
_DULL, _SHARP = 20.0, 2.0


@dataclasses.dataclass(frozen=True)
class Deadline:
    """When learning is to end, in nanoseconds of ``time.monotonic_ns``; None for never."""

    end: int | None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """Return the deadline that lies ``seconds`` ahead."""
        return cls(None if seconds is None else time.monotonic_ns() + int(seconds * 1e9))

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return self.end is not None and time.monotonic_ns() >= self.end


@dataclasses.dataclass(frozen=True)
class Descent:
    """What is learned and on what.

    Attributes:
        torch: The torch module.
        products: The products that are learned.
        loss: Row or sample numbers -> error of them, 1 for what the start gives.
        count: How many rows or samples there are.
        batch: How many of them a step takes.
    """

    torch: Torch
    products: Sequence[Moving]
    loss: Callable[[Tensor], Tensor]
    count: int
    batch: int

    def run(self, options: LearnOptions, seed: int, deadline: Deadline) -> None:
        """Change the roundings and biases in place."""
        groups = [
            {"params": [p.rounding.variable for p in self.products], "lr": options.learning_rate},
            {
                "params": [p.change for p in self.products if p.change is not None],
                "lr": options.bias_rate,
            },
        ]
        optimiser = self.torch.optim.Adam([group for group in groups if group["params"]])
        for step, chosen in enumerate(self._batches(options.iterations, seed)):
            if deadline.is_over:
                return
            optimiser.zero_grad()
            total = self.loss(chosen)
            progress = step / options.iterations
            if progress >= _WARM_UP:
                sharpness = _sharpness((progress - _WARM_UP) / (1 - _WARM_UP))
                penalties = [p.rounding.penalty(sharpness) for p in self.products]
                total = total + options.regulariser * sum(penalties)
            total.backward()
            optimiser.step()

    def _batches(self, steps: int, seed: int) -> Iterator[Tensor]:
        rng = np.random.default_rng(seed)
        size = min(self.batch, self.count)
        for _ in range(steps):
            yield self.torch.from_numpy(rng.choice(self.count, size, replace=False))


def _sharpness(progress: float) -> float:
    return _SHARP + (_DULL - _SHARP) * 0.5 * (1 + float(np.cos(np.pi * progress)))
