"""Watch one tensor over any number of batches, in memory that does not grow with them."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bmopt import _ext
from bmopt.core.ranges import ChannelRanges, Interval, TensorRange
from bmopt.core.runner import Array
from bmopt.errors import CalibrationError

DEFAULT_PERCENTILE = 99.99
"""How many per cent of the values the percentile method keeps."""


class Observer:
    """Streaming observer of one tensor; all methods of ``METHODS`` at once.

    Counts are exact and no value is skipped. The counts, the extremes and with them every range
    except the moving average depend neither on the order of the values, nor on how they were
    split between updates or merged observers, nor on the number of threads. The moving average
    (momentum 0.9) takes one step per group: everything between two calls of ``close_group``.

    Args:
        channel_axis: Also watch every index of this axis by itself (negative counts from the
            end); each takes another 32 KB.
        percentile: How many per cent of the values the percentile method keeps, in (0, 100].

    Raises:
        CalibrationError: ``percentile`` lies outside (0, 100].
    """

    def __init__(
        self, *, channel_axis: int | None = None, percentile: float = DEFAULT_PERCENTILE
    ) -> None:
        if not 0.0 < percentile <= 100.0:
            raise CalibrationError(f"percentile {percentile}: must lie in (0, 100]")
        self._kernel = _ext.TensorObserver()
        self._percentile = percentile
        self._axis = channel_axis
        self._channels: _Channels | None = None

    @property
    def has_nan(self) -> bool:
        """Whether a NaN was seen."""
        return self._kernel.nans > 0

    def update(self, array: Array, *, threads: int = 1) -> None:
        """Add the values of a float array of any shape to the open group.

        Types other than float32 are converted to it.

        Raises:
            CalibrationError: The channel axis is missing or changed its length.
        """
        values = np.ascontiguousarray(array, dtype=np.float32)
        self._kernel.update(values.reshape(-1), threads)
        if self._axis is not None:
            axis = _normalised(self._axis, array.ndim)
            self._channels_for(axis, array.shape[axis]).update(values, threads)

    def close_group(self) -> None:
        """End the open group: its extremes make one step of the moving average."""
        self._kernel.close_group()
        for channel in self._channels.observers if self._channels is not None else ():
            channel.close_group()

    def merge(self, later: Observer) -> None:
        """Append what ``later`` saw; associative, and the moving average too up to rounding.

        Open groups of both are closed.

        Raises:
            CalibrationError: The two watched different channels.
        """
        self._kernel.merge(later._kernel)
        if later._channels is not None:
            mine = self._channels_for(later._channels.axis, len(later._channels.observers))
            for channel, other in zip(mine.observers, later._channels.observers, strict=True):
                channel.merge(other)

    def range(self) -> TensorRange:
        """Return what was seen and the interval that every method chooses.

        No interval exceeds the extremes. A tensor without a finite value has the range [0, 0].
        """
        kernel = self._kernel
        chosen = kernel.ranges(self._percentile)
        empty = kernel.finite == 0
        return TensorRange(
            low=0.0 if empty else kernel.low,
            high=0.0 if empty else kernel.high,
            count=kernel.finite,
            infinities=kernel.infinities,
            affine={name: Interval(low, high) for name, (low, high, _) in chosen.items()},
            symmetric={name: Interval(-bound, bound) for name, (*_, bound) in chosen.items()},
            channels=None if self._channels is None else self._channels.range(),
        )

    def _channels_for(self, axis: int, size: int) -> _Channels:
        if self._channels is None:
            channels = tuple(Observer(percentile=self._percentile) for _ in range(size))
            self._channels = _Channels(axis, channels)
        if (self._channels.axis, len(self._channels.observers)) != (axis, size):
            raise CalibrationError(
                f"channel axis {self._channels.axis} has {len(self._channels.observers)} channels "
                f"in one batch and axis {axis} has {size} in another; leave this tensor per-tensor"
            )
        return self._channels


@dataclasses.dataclass(frozen=True)
class _Channels:
    """One observer per index of an axis."""

    axis: int
    observers: tuple[Observer, ...]

    def update(self, values: npt.NDArray[np.float32], threads: int) -> None:
        rows = np.moveaxis(values, self.axis, 0)
        for channel, row in zip(self.observers, rows, strict=True):
            channel.update(row, threads=threads)

    def range(self) -> ChannelRanges:
        return ChannelRanges(self.axis, tuple(channel.range() for channel in self.observers))


def _normalised(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise CalibrationError(f"channel axis {axis} does not exist in an array of rank {rank}")
    return axis % rank
