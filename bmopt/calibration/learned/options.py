"""How rounding is learned."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class LearnOptions:
    """What bounds and steers the learning.

    Attributes:
        iterations: Steps of gradient descent per block, or per product that is learned alone.
        learning_rate: Adam's, of the roundings.
        bias_rate: Adam's, of the biases in standard deviations of their channels.
        batch: Samples per step; of a product alone, 128 times as many rows.
        samples: Calibration samples to use at most.
        held_out: Share of them that only decides whether what was learned is taken.
        regulariser: Weight of the pull to whole numbers, against an error of 1 at the start.
        seconds: Time after which nothing more is learned, None for no limit. A run that it ends
            depends on the machine's speed.
        seed: Of the order of samples.
    """

    iterations: int = 500
    learning_rate: float = 0.1
    bias_rate: float = 0.001
    batch: int = 16
    samples: int = 256
    held_out: float = 0.2
    regulariser: float = 1.0
    seconds: float | None = None
    seed: int = 20_200_410
