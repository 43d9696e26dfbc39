"""Windows that slide over stored images: sizes, strides, borders."""

from __future__ import annotations

import dataclasses

from bmopt.backends.tvm.integers.emitting import Area
from bmopt.backends.tvm.integers.machine import BLOCK


def stored_channels(channels: int) -> int:
    """Return how many channels are stored: up to 4 as 4, else in whole blocks."""
    return 4 if channels <= 4 else -(-channels // BLOCK) * BLOCK


@dataclasses.dataclass(frozen=True)
class Window:
    """A window over an image.

    Attributes:
        size: Rows, columns of the image.
        kernel: Rows, columns of the window.
        strides: Steps between windows.
        dilations: Steps between elements of a window.
        pads: Border: top, left, bottom, right.
        ceil: Whether the last window may begin inside and end beyond the border.
    """

    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    ceil: bool = False

    @property
    def out(self) -> tuple[int, int]:
        """Rows, columns of the result."""
        return self._out(0), self._out(1)

    @property
    def is_pointwise(self) -> bool:
        """Whether each pixel is seen once, alone."""
        return self.kernel == (1, 1) and self.strides == (1, 1) and self.pads == (0, 0, 0, 0)

    def area(self, channels: int) -> Area:
        """Return the image with as much border as windows reach."""
        top, left, _, _ = self.pads
        reach = [self._reach(0), self._reach(1)]
        return Area(*self.size, channels, top, left, *reach)

    def flat(self) -> Window:
        """Return a pointwise window over the same pixels in rows that suit a register tile."""
        pixels = self.size[0] * self.size[1]
        rows = next((r for r in range(self.size[0], 0, -1) if pixels % r == 0), 1)
        return Window((rows, pixels // rows), (1, 1))

    def _out(self, axis: int) -> int:
        span = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        room = self.size[axis] + self.pads[axis] + self.pads[axis + 2] - span
        if not self.ceil:
            return room // self.strides[axis] + 1
        out = -(-room // self.strides[axis]) + 1
        begins = (out - 1) * self.strides[axis]
        return out - 1 if begins >= self.size[axis] + self.pads[axis] else out

    def _reach(self, axis: int) -> int:
        span = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        last = (self._out(axis) - 1) * self.strides[axis] + span
        return max(last, self.size[axis] + self.pads[axis])
