"""Whole numbers that gradient descent can move.

Every number is ``low + h(v)`` with ``h`` a sigmoid stretched beyond [0, 1] and cut off there, so
that both ends are reached: the rectified sigmoid of AdaRound (Nagel et al. 2020,
arXiv:2004.10568). A regulariser that grows sharper while learning goes on pushes ``h`` to an end.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmopt.core.runner import Array
from bmopt.differentiable.torch_access import Tensor, Torch

_LOW, _HIGH = -0.1, 1.1
_NEAREST_END = 0.01
_FAR = 0.2
"""From the start, at first: it may have moved on purpose from what it was rounded from."""
_SPARSE = 0.2
"""A weight of which this part is zero was made sparse."""


class SoftRounding:
    """A weight's whole numbers.

    ``low`` is chosen so that the start is one of the two ends and the other lies on the side of
    the number that the start was rounded from. Zeros of a sparse weight do not move.

    Args:
        torch: The torch module.
        start: Whole numbers, of any shape.
        ideal: What they were rounded from, real numbers in the same unit.
        limit: Largest magnitude of a stored number.
    """

    def __init__(
        self, torch: Torch, start: Array, ideal: npt.NDArray[np.float64], limit: int
    ) -> None:
        off = np.clip(ideal - start, -_FAR, _FAR)
        up = ((off >= 0) & (start < limit)) | (start <= -limit)
        low = np.where(up, start, start - 1)
        share = np.clip(start + off - low, _NEAREST_END, 1 - _NEAREST_END)
        inner = (share - _LOW) / (_HIGH - _LOW)
        self._torch = torch
        self._low = torch.from_numpy(low.astype(np.float32))
        logit = np.log(inner / (1 - inner)).astype(np.float32)
        self.variable: Tensor = torch.from_numpy(logit).requires_grad_(True)
        fixed = (start == 0) & (ideal == 0)
        self._free: Tensor | None = None
        if fixed.mean() >= _SPARSE:
            self._free = torch.from_numpy((~fixed).astype(np.float32))

    def shares(self) -> Tensor:
        """Return ``h``, in [0, 1]."""
        stretched = self._torch.sigmoid(self.variable) * (_HIGH - _LOW) + _LOW
        shares: Tensor = stretched.clamp(0.0, 1.0)
        return shares if self._free is None else shares * self._free

    def soft(self) -> Tensor:
        """Return the numbers as they are now, float32 and differentiable."""
        return self._low + self.shares()

    def penalty(self, sharpness: float) -> Tensor:
        """Return the mean of ``1 - |2h - 1| ** sharpness``; 0 where every number is whole."""
        return (1 - (2 * self.shares() - 1).abs().pow(sharpness)).mean()

    def whole(self) -> Tensor:
        """Return the nearer end of every number, float32."""
        with self._torch.no_grad():
            return self._low + (self.shares() >= 0.5).float()
