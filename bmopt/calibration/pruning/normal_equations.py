"""Sums that a linear fit needs, streamed over samples in bounded memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Means:
    """Means over rows ``x [groups, K]`` and ``y [groups, outputs]``.

    Attributes:
        xx: Of ``x^T x``, ``[groups, K, K]``.
        yx: Of ``y^T x``, ``[groups, outputs, K]``.
        yy: Of ``y^2``, ``[groups, outputs]``.
        x: Of ``x``, ``[groups, K]``; not centred.
        y: Of ``y``, ``[groups, outputs]``; not centred.
    """

    xx: Floats
    yx: Floats
    yy: Floats
    x: Floats
    y: Floats


class NormalEquations:
    """Second moments of what a product reads and is to compute, in two halves of the samples.

    Rows are multiplied in float32 about the mean of the first ones, which would take most of its
    digits, and summed in float64.

    Args:
        groups: Of the product.
        size: Inputs of each group, K.
        outputs: Outputs of each group; none where only the inputs are of interest.
    """

    def __init__(self, groups: int, size: int, outputs: int) -> None:
        self._counts = np.zeros(2)
        self._x = np.zeros((2, groups, size))
        self._y = np.zeros((2, groups, outputs))
        self._xx = np.zeros((2, groups, size, size))
        self._yx = np.zeros((2, groups, outputs, size))
        self._yy = np.zeros((2, groups, outputs))
        self._origin: tuple[Float32, Float32] | None = None

    @property
    def count(self) -> int:
        """How many rows were seen."""
        return int(self._counts.sum())

    def add(self, x: Float32, y: Float32) -> None:
        """Add rows, ``x [groups, rows, K]`` and ``y [groups, rows, outputs]``.

        They are in the order of the samples: the first of them go to one half of the sums, the
        others to the other, so that the halves share at most one sample.
        """
        if not x.shape[1]:
            return
        if self._origin is None:
            self._origin = x.mean(1, keepdims=True), y.mean(1, keepdims=True)
        x, y = x - self._origin[0], y - self._origin[1]
        odd = int(self._counts[0] <= self._counts[1])
        first = (x.shape[1] + odd) // 2
        for half, part in enumerate((slice(None, first), slice(first, None))):
            self._add(half, x[:, part], y[:, part])

    def _add(self, half: int, x: Float32, y: Float32) -> None:
        self._counts[half] += x.shape[1]
        self._x[half] += x.sum(1, dtype=np.float64)
        self._y[half] += y.sum(1, dtype=np.float64)
        self._xx[half] += x.swapaxes(1, 2) @ x
        self._yx[half] += y.swapaxes(1, 2) @ x
        self._yy[half] += np.square(y, dtype=np.float64).sum(1)

    def means(self, *, centred: bool) -> Means:
        """Return the means over all rows; squares about the means if ``centred``."""
        sums = (self._x, self._y, self._xx, self._yx, self._yy)
        x, y, xx, yx, yy = (one.sum(0) for one in sums)
        return self._means(self._counts.sum(), (x, y, xx, yx, yy), centred)

    def halves(self, *, centred: bool) -> list[Means]:
        """Return the same of each half that has rows."""
        sums = (self._x, self._y, self._xx, self._yx, self._yy)
        return [
            self._means(count, tuple(one[half] for one in sums), centred)
            for half, count in enumerate(self._counts.tolist())
            if count
        ]

    def _means(self, count: float, sums: tuple[Floats, ...], centred: bool) -> Means:
        x, y, xx, yx, yy = (one / max(count, 1.0) for one in sums)
        form = xx - x[:, :, None] * x[:, None, :]
        cross = yx - y[:, :, None] * x[:, None, :]
        square = yy - y * y
        if self._origin is not None:
            x, y = x + self._origin[0][:, 0], y + self._origin[1][:, 0]
        if not centred:
            form += x[:, :, None] * x[:, None, :]
            cross += y[:, :, None] * x[:, None, :]
            square += y * y
        return Means(form, cross, square, x, y)
