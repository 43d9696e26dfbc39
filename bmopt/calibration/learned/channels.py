"""Mean and spread of a tensor's channels."""

from __future__ import annotations

from bmopt.differentiable.torch_access import Tensor


class Channels:
    """Sums over batches of a tensor.

    Args:
        axis: The channel axis.
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._count = 0
        self._sum: Tensor = 0.0
        self._squares: Tensor = 0.0

    def add(self, tensor: Tensor) -> None:
        """Take in a batch."""
        by_channel = tensor.movedim(self._axis, 0).flatten(1).double()
        self._count += by_channel.shape[1]
        self._sum = self._sum + by_channel.sum(dim=1)
        self._squares = self._squares + by_channel.square().sum(dim=1)

    def mean(self) -> Tensor:
        """Return the mean of every channel, float32."""
        return (self._sum / self._count).float()

    def spread(self) -> Tensor:
        """Return the standard deviation of every channel, float32."""
        mean = self._sum / self._count
        return (self._squares / self._count - mean * mean).clamp(min=0.0).sqrt().float()
