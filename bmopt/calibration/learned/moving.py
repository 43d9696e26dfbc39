"""A product's whole numbers and bias while they are learned."""

from __future__ import annotations

from collections.abc import Callable

from bmopt.calibration.learned.soft_rounding import SoftRounding
from bmopt.differentiable.torch_access import Tensor, Torch


class Moving:
    """Whole numbers that gradient descent moves, and a bias that keeps their output's mean.

    The bias makes up for what a change of the whole numbers does to the mean of the output, so
    that their gradients are about its shape alone. What the bias learns comes on top of that.

    Args:
        torch: The torch module.
        rounding: The whole numbers.
        start: What they start from, as a tensor.
        bias: What the bias starts from; None for one that cannot be changed.
        spread: Standard deviation of the output, in the bias' shape.
        mean_of: Change of the whole numbers -> change of the output's mean, in that shape.
    """

    def __init__(
        self,
        torch: Torch,
        rounding: SoftRounding,
        start: Tensor,
        bias: Tensor | None,
        spread: Tensor,
        mean_of: Callable[[Tensor], Tensor],
    ) -> None:
        self._torch = torch
        self.rounding = rounding
        self._start = start
        self._bias = bias
        self._spread = spread
        self._mean_of = mean_of
        self.change: Tensor | None = None
        if bias is not None:
            self.change = torch.zeros_like(bias, requires_grad=True)

    def soft(self) -> tuple[Tensor, Tensor | None]:
        """Return the numbers and the bias as they are now, differentiable."""
        numbers = self.rounding.soft()
        return numbers, self._bias_with(numbers)

    def whole(self) -> tuple[Tensor, Tensor | None]:
        """Return the numbers rounded to the nearer ends, and the bias that they have then."""
        with self._torch.no_grad():
            numbers = self.rounding.whole()
            return numbers, self._bias_with(numbers)

    def _bias_with(self, numbers: Tensor) -> Tensor | None:
        if self._bias is None:
            return None
        kept = self._mean_of(self._start - numbers)
        return self._bias + kept + self._spread * self.change
