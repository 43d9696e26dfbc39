"""Second-order statistics of what a product reads, streamed over samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


@dataclasses.dataclass
class SecondMoments:
    """Sums over rows ``x`` that a quantised product reads and ``t`` that the float one reads.

    Attributes:
        count: How many rows were seen.
        x: Sum of ``x``, ``[groups, K]``.
        t: Sum of ``t``, ``[groups, K]``.
        xx: Sum of ``x^T x``, ``[groups, K, K]``.
        tx: Sum of ``t^T x``, ``[groups, K, K]``.
    """

    count: int
    x: Floats
    t: Floats
    xx: Floats
    tx: Floats

    @classmethod
    def empty(cls, groups: int, size: int) -> SecondMoments:
        """Return the moments of no rows."""
        square = (groups, size, size)
        flat = (groups, size)
        return cls(0, np.zeros(flat), np.zeros(flat), np.zeros(square), np.zeros(square))

    def add(self, x: Float32, t: Float32) -> None:
        """Add rows ``[groups, rows, K]`` of both; many at once are fastest.

        They are multiplied in float32 about their means, which would take most of its digits.
        """
        x_sum, t_sum = _sum(x), _sum(t)
        x_mean, t_mean = (_mean(total, x.shape[1]) for total in (x_sum, t_sum))
        x_off, t_off = x - x_mean[:, None], t - t_mean[:, None]
        self.count += x.shape[1]
        self.x += x_sum
        self.t += t_sum
        for found, left, total, mean in (
            (self.xx, x_off, x_sum, x_mean),
            (self.tx, t_off, t_sum, t_mean),
        ):
            found += left.swapaxes(1, 2) @ x_off
            # What the means take part in: total x_mean^T + mean (x_sum - count x_mean)^T.
            found += total[:, :, None] * x_mean[:, None, :]
            left_over = x_sum - x.shape[1] * x_mean.astype(np.float64)
            found += mean[:, :, None] * left_over[:, None, :]

    def joined(self, other: SecondMoments) -> SecondMoments:
        """Return the moments of the rows of both."""
        return SecondMoments(
            self.count + other.count,
            self.x + other.x,
            self.t + other.t,
            self.xx + other.xx,
            self.tx + other.tx,
        )

    def covariances(self, *, centred: bool) -> tuple[Floats, Floats]:
        """Return the mean of ``x^T x`` and of ``t^T x``, about the means if ``centred``."""
        count = max(self.count, 1)
        xx, tx = self.xx / count, self.tx / count
        if centred:
            x, t = self.x / count, self.t / count
            xx -= x[:, :, None] * x[:, None, :]
            tx -= t[:, :, None] * x[:, None, :]
        return xx, tx


def _sum(rows: Float32) -> Floats:
    total: Floats = rows.sum(axis=1, dtype=np.float64)
    return total


def _mean(total: Floats, count: int) -> Float32:
    return (total / max(count, 1)).astype(np.float32)
