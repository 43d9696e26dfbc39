"""Pooling of stored images."""

from __future__ import annotations

import dataclasses

import numpy as np
from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from bmopt.backends.tvm.integers import emitting
from bmopt.backends.tvm.integers.emitting import Image, Output
from bmopt.backends.tvm.integers.machine import BLOCK, Machine
from bmopt.backends.tvm.integers.native import Buffer, Expr, PrimFunc
from bmopt.backends.tvm.integers.window import Window


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """Greatest value in a window; the encoding stays.

    Attributes:
        window: Over the image.
        channels: Channels as stored.
    """

    window: Window
    channels: int

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc ``(image, out)``."""
        least = int(np.iinfo(machine.stored).min)
        return _pool(self.window, self.channels, machine.stored, least, self._pixel)

    def _pixel(self, take: Expr, put: Expr, lanes: int, _pixel: Expr, dtype: str) -> None:
        best = T.alloc_buffer((lanes,), dtype)
        emitting.store(best, emitting.splat(int(np.iinfo(dtype).min), dtype, lanes), 0, lanes)
        with T.serial(0, self.window.kernel[0]) as ky, T.serial(0, self.window.kernel[1]) as kx:
            value = tirx.max(emitting.load(best, 0, lanes), take(ky, kx))
            emitting.store(best, value, 0, lanes)
        put(emitting.load(best, 0, lanes))


@dataclasses.dataclass(frozen=True)
class MeanPool:
    """Mean of a window.

    Attributes:
        window: Over the image.
        channels: Channels as stored.
        zero: Zero point of the input as a stored value.
        output: What it writes.
    """

    window: Window
    channels: int
    zero: int
    output: Output

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc ``(image, scale, out)``; ``scale`` is float32, one per pixel."""
        pixels = int(np.prod(self.window.out))
        scale = ((pixels,), "float32")
        return _pool(self.window, self.channels, machine.stored, self.zero, self._pixel, scale)

    def _pixel(self, take: Expr, put: Expr, lanes: int, scale: Buffer, _dtype: str) -> None:
        total = T.alloc_buffer((lanes,), "int32")
        count = int(np.prod(self.window.kernel))
        start = emitting.splat(-count * self.zero, "int32", lanes)
        emitting.store(total, start, 0, lanes)
        with T.serial(0, self.window.kernel[0]) as ky, T.serial(0, self.window.kernel[1]) as kx:
            value = emitting.load(total, 0, lanes) + emitting.cast(take(ky, kx), "int32", lanes)
            emitting.store(total, value, 0, lanes)
        steps = emitting.cast(emitting.load(total, 0, lanes), "float32", lanes)
        factor = scale if lanes == 1 else tirx.Broadcast(scale, lanes)
        put(emitting.finished(steps * factor, self.output, lanes))


def _pool(
    window: Window, channels: int, dtype: str, border: int, pixel: Expr, scale: Buffer = None
) -> Expr:
    n = emitting.batch()
    rows, columns = window.out
    area = window.area(channels)
    lanes = min(BLOCK, emitting.chunk(channels))

    def body(image: Buffer, *rest: Expr) -> None:
        out, scales = rest[-1], rest[:-1]
        with T.serial(0, n) as i:
            source = Image(image, i, area, border)
            with T.serial(0, rows) as y, T.serial(0, columns) as x:
                factor = emitting.load(scales[0], y * columns + x, 1) if scales else None
                with T.serial(0, channels // lanes) as c:
                    at = (y, x, c * lanes)

                    def take(ky: Expr, kx: Expr) -> Expr:
                        row = at[0] * window.strides[0] + ky * window.dilations[0]
                        column = at[1] * window.strides[1] + kx * window.dilations[1]
                        index = (row * area.padded_width + column) * channels + at[2]
                        return source.load(index, lanes)

                    def put(value: Expr) -> None:
                        index = (at[0] * columns + at[1]) * channels + at[2]
                        emitting.store(out, value, index, lanes, i)

                    pixel(take, put, lanes, factor, dtype)

    middle = [scale] if scale else []
    out = ((n, rows * columns * channels), dtype)
    return emitting.function([((n, area.size), dtype), *middle, out], body)
