"""What rows of a product's inputs tell of it: moments to fit its weight to, and how others fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bmopt.calibration.sequence.likeness import ChannelFit
from bmopt.calibration.sequence.rows import Rows, weight_matrix
from bmopt.core.moments import SecondMoments
from bmopt.core.runner import Array
from bmopt.graph.products import Product

Floats = npt.NDArray[np.float64]

_ROWS_PER_INPUT = 8
_ROWS_PER_FURTHER_INPUT = 2
_FEWEST_ROWS = 4096
_FEWEST_GROUPED = 2048
_FEW_INPUTS = 1024
_PENDING_BYTES = 64 << 20
"""Rows that wait to be multiplied: a few large products are faster than many small ones."""


class RowEvidence:
    """Moments of what a product's two versions read, streamed over batches.

    Args:
        product: As ``Rows`` takes it.
        weight: Of the float product, float32.
        batches: How many batches there will be.
    """

    def __init__(self, product: Product, weight: Array, batches: int) -> None:
        self._product = product
        self._matrix = weight_matrix(product, weight)
        groups, outputs, size = self._matrix.shape
        per_batch = -(-_rows_wanted(groups, size) // batches)
        self._rows = Rows(product, per_batch, per_batch)
        self._halves = [SecondMoments.empty(groups, size) for _ in range(2)]
        self._pending: list[list[list[Array]]] = [[], []]
        self._bytes = 0
        self._squares: Floats = np.zeros((groups, outputs))

    def observe(self, read: Array, wanted: Array, rng: np.random.Generator) -> None:
        """Take in a batch of what the quantised product reads and what the float one reads."""
        x, t = self._rows.pick([read, wanted], rng)
        # Halves share no sample, but where a batch has one only.
        first = x.shape[1] // 2
        for half, part in enumerate((slice(None, first), slice(first, None))):
            self._pending[half].append([x[:, part], t[:, part]])
        self._bytes += x.nbytes + t.nbytes
        if self._bytes > _PENDING_BYTES:
            self._take()

    def halves(self, *, centred: bool) -> Sequence[tuple[Floats, Floats]]:
        """Return ``SecondMoments.covariances`` of each half of the rows that has any."""
        self._take()
        return [half.covariances(centred=centred) for half in self._halves if half.count]

    def moments(self) -> SecondMoments:
        """Return the moments of all rows."""
        self._take()
        return self._halves[0].joined(self._halves[1])

    def fit(self, weight: Array, bias: Floats | None) -> ChannelFit:
        """Return how the output with another weight compares to the float product's.

        Args:
            weight: In the weight's shape.
            bias: That the product itself adds in both cases, ``[channels]``.
        """
        moments = self.moments()
        wanted = self._matrix.astype(np.float64)
        found = weight_matrix(self._product, weight).astype(np.float64)
        a = np.einsum("gok,gk->go", wanted, moments.t)
        b = np.einsum("gok,gk->go", found, moments.x)
        ab = np.einsum("gok,gok->go", wanted @ moments.tx, found)
        bb = np.einsum("gok,gok->go", found @ moments.xx, found)
        sums = np.stack([a, b, self._squares, ab, bb]).reshape(5, -1)
        return ChannelFit.of_sums(moments.count, _shifted(sums, moments.count, bias))

    def _take(self) -> None:
        """Add the rows that wait to the sums."""
        turned = self._matrix.swapaxes(1, 2)
        for half, pending in zip(self._halves, self._pending, strict=True):
            if not pending:
                continue
            x, t = (np.concatenate(parts, axis=1) for parts in zip(*pending, strict=True))
            half.add(x, t)
            signal = t @ turned
            self._squares += np.einsum("gro,gro->go", signal, signal)
            pending.clear()
        self._bytes = 0


def _rows_wanted(groups: int, size: int) -> int:
    """Return how many rows tell enough of ``size`` inputs; the work grows with its square."""
    few = min(size, _FEW_INPUTS)
    wanted = _ROWS_PER_INPUT * few + _ROWS_PER_FURTHER_INPUT * (size - few)
    return max(wanted, _FEWEST_ROWS if groups == 1 else _FEWEST_GROUPED)


def _shifted(sums: Floats, count: int, bias: Floats | None) -> Floats:
    """Return the sums of both channels with ``bias`` added to each of their elements."""
    if bias is None:
        return sums
    a, b, aa, ab, bb = sums
    square = count * bias * bias
    return np.stack(
        [
            a + count * bias,
            b + count * bias,
            aa + 2 * bias * a + square,
            ab + bias * (a + b) + square,
            bb + 2 * bias * b + square,
        ]
    )
