"""Second moments of what products read, by which a plan weighs errors of their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class InputMoments:
    """What the inputs of products are like.

    Attributes:
        model: Digest of the model they were seen in.
        forms: Product -> mean of ``x^T x`` over the rows ``x`` that it multiplies, ``[K, K]``;
            symmetric, positive semi-definite, not centred.
        means: Product -> mean of ``x``, ``[K]``.
    """

    model: str
    forms: Mapping[str, Floats]
    means: Mapping[str, Floats]
