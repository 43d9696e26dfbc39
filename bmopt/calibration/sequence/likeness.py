"""How a quantised layer's output channels relate to the float ones."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bmopt.core.runner import Array

Floats = npt.NDArray[np.float64]

_CHUNK = 1 << 16
"""Numbers of a channel that are summed in float32."""


class ChannelFit:
    """Sums over two tensors of one shape, per channel of one axis.

    Args:
        axis: The channel axis.
        channels: Its size.
    """

    def __init__(self, axis: int, channels: int) -> None:
        self._axis = axis
        self._count = 0
        self._sums: Floats = np.zeros((5, channels))

    @classmethod
    def of_sums(cls, count: int, sums: Floats) -> ChannelFit:
        """Return a comparison that is known already.

        Args:
            count: Elements of a channel.
            sums: Of the float channel ``a``, the quantised one ``b``, and of ``a * a``, ``a * b``
                and ``b * b``: ``[5, channels]``.
        """
        found = cls(-1, sums.shape[1])
        found._count, found._sums = count, sums
        return found

    def add(self, wanted: Array, found: Array) -> None:
        """Add the float tensor and the quantised one."""
        whole = [_by_channel(array, self._axis) for array in (wanted, found)]
        self._count += whole[0].shape[1]
        for start in range(0, whole[0].shape[1], _CHUNK):
            a, b = (part[:, start : start + _CHUNK] for part in whole)
            self._sums[0] += a.sum(axis=1, dtype=np.float64)
            self._sums[1] += b.sum(axis=1, dtype=np.float64)
            for row, (left, right) in enumerate(((a, a), (a, b), (b, b)), start=2):
                self._sums[row] += np.matmul(left[:, None], right[:, :, None])[:, 0, 0]

    def gain(self) -> Floats:
        """Return the factor per channel that fits the quantised channel to the float one best.

        Channels that hardly vary, or whose fit lies beyond [0.8, 1.25], keep 1.
        """
        a, b, _, ab, bb = self._sums / max(self._count, 1)
        variance = bb - b * b
        safe = variance > 1e-12 * np.maximum(bb, 1e-30)
        gain: Floats = np.where(safe, (ab - a * b) / np.where(safe, variance, 1.0), 1.0)
        return np.where((gain >= 0.8) & (gain <= 1.25), gain, 1.0)

    def offset(self, gain: Floats) -> Floats:
        """Return what puts the mean of ``gain`` times the quantised channel right."""
        wanted, found = self._sums[:2] / max(self._count, 1)
        offset: Floats = wanted - gain * found
        return offset

    def sqnr_db(self, gain: Floats | float = 1.0, offset: Floats | float = 0.0) -> float:
        """Return signal to error in dB of ``gain * found + offset``."""
        a, b, aa, ab, bb = self._sums
        signal = float(aa.sum())
        fitted = gain * gain * bb + 2 * gain * offset * b + offset * offset * self._count
        error = float(np.sum(aa - 2 * (gain * ab + offset * a) + fitted))
        if error <= 1e-12 * signal:
            return math.inf if signal > 0 else 0.0
        return 10 * math.log10(signal / error) if signal > 0 else -math.inf


def _by_channel(array: Array, axis: int) -> npt.NDArray[np.float32]:
    moved = np.moveaxis(array, axis, 0)
    return np.ascontiguousarray(moved, np.float32).reshape(moved.shape[0], -1)
