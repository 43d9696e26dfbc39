"""Which steps refinement takes."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class RefineSteps:
    """Which steps are taken at every product; each is usable without the others.

    Attributes:
        least_squares: The weight is fitted to what the float product computes.
        scales: Weight scales are chosen by the rounding error.
        rounding: Rounding makes up for its own error; otherwise it is to nearest.
        bias: The mean of every output channel is put right.
        gain: So is its variance, in the weight's scale.
    """

    least_squares: bool = True
    scales: bool = True
    rounding: bool = True
    bias: bool = True
    gain: bool = True
