"""How far one model's outputs are from another's: signal-to-quantisation-noise ratio."""

from __future__ import annotations

import math

import numpy as np

from bmopt.core.runner import Array


class Sqnr:
    """Streams 10 log10(sum ref^2 / sum (ref - x)^2) over batches, in float64.

    Elements that are equal, infinities and NaN among them, add no noise. An element that is
    finite in only one of the two, or infinite the other way round, is infinite noise.
    """

    def __init__(self) -> None:
        self._signal = 0.0
        self._noise = 0.0
        self._comparable = True

    def update(self, reference: Array, candidate: Array) -> None:
        """Add a batch; arrays of different shapes or without numbers cannot be compared."""
        if reference.shape != candidate.shape or not _numeric(reference, candidate):
            self._comparable = False
            return
        signal = reference.astype(np.float64)
        value = candidate.astype(np.float64)
        finite = np.isfinite(signal) & np.isfinite(value)
        same = (signal == value) | (np.isnan(signal) & np.isnan(value))
        noise = signal[finite] - value[finite]
        self._signal += float(np.sum(np.square(signal[finite])))
        self._noise += float(np.sum(np.square(noise)))
        if not (finite | same).all():
            self._noise = math.inf

    def decibels(self) -> float | None:
        """Return the ratio in dB, or None where something could not be compared.

        Infinite for equal outputs; minus infinite for infinite noise, and for noise on a
        reference that is zero throughout.
        """
        if not self._comparable:
            return None
        if self._noise == 0.0:
            return math.inf
        if self._signal == 0.0 or math.isinf(self._noise):
            return -math.inf
        return 10.0 * (math.log10(self._signal) - math.log10(self._noise))


def _numeric(*arrays: Array) -> bool:
    return all(a.dtype.kind in "fiub" or a.dtype.name == "bfloat16" for a in arrays)
