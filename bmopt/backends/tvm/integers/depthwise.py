"""Depthwise convolution of stored 8-bit images: every channel by itself, a block at a time."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
from tvm.tirx.script import builder as T  # noqa: N812

from bmopt.backends.tvm.integers import emitting
from bmopt.backends.tvm.integers.emitting import Image, Output
from bmopt.backends.tvm.integers.machine import BLOCK, Machine
from bmopt.backends.tvm.integers.native import Buffer, Expr, PrimFunc
from bmopt.backends.tvm.integers.window import Window


@dataclasses.dataclass(frozen=True)
class Depthwise:
    """What a depthwise convolution computes.

    Attributes:
        window: Over the image.
        channels: Channels as stored, a multiple of the block, of the input and the output.
        zero: Zero point of the input as a stored value.
        output: What it writes.
    """

    window: Window
    channels: int
    zero: int
    output: Output

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc ``(image, weights, start, scale, out)``, as of ``Convolution``."""
        n = emitting.batch()
        rows, columns = self.window.out
        area = self.window.area(self.channels)
        buffers = [
            ((n, area.size), machine.stored),
            ((int(np.prod(self.window.kernel)) * self.channels,), "int8"),
            ((self.channels,), "int32"),
            ((self.channels,), "float32"),
            ((n, rows * columns * self.channels), self.output.dtype),
        ]
        return emitting.function(buffers, _Emitter(self, machine, n).body)


def packed(weights: npt.NDArray[np.int8], channels: int) -> npt.NDArray[np.int8]:
    """Return weights ``[C, 1, kh, kw]`` as ``[kh, kw, channels]``, flat."""
    wide = np.zeros((channels, *weights.shape[2:]), np.int8)
    wide[: len(weights)] = weights[:, 0]
    return np.ascontiguousarray(wide.transpose(1, 2, 0)).reshape(-1)


class _Emitter:
    def __init__(self, spec: Depthwise, machine: Machine, n: Expr) -> None:
        self._spec = spec
        self._machine = machine
        self._n = n
        self._area = spec.window.area(spec.channels)
        vectors = BLOCK // machine.lanes
        self._pixels = max(1, min(spec.window.out[1], machine.accumulators // 2 // vectors, 8))

    def body(
        self, image: Buffer, weights: Buffer, start: Buffer, scale: Buffer, out: Buffer
    ) -> None:
        self._weights, self._start, self._scale, self._out = weights, start, scale, out
        rows, columns = self._spec.window.out
        work = rows * columns * self._spec.channels * int(np.prod(self._spec.window.kernel))
        is_big = self._machine.pays_to_share(work, is_dot=False)
        with T.serial(0, self._n) as i:
            self._i = i
            self._image = Image(image, i, self._area, self._spec.zero)
            with emitting.loop(rows, is_parallel=is_big) as y:
                self._row(y)

    def _row(self, y: Expr) -> None:
        whole, rest = divmod(self._spec.window.out[1], self._pixels)
        self._registers = emitting.registers(self._pixels, BLOCK)
        with T.serial(0, self._spec.channels // BLOCK) as block:
            with T.serial(0, whole) as x:
                self._sums(y, x * self._pixels, block * BLOCK, self._pixels)
            if rest:
                self._sums(y, whole * self._pixels, block * BLOCK, rest)

    def _sums(self, y: Expr, x: Buffer, channel: Expr, pixels: int) -> None:
        sums = self._registers
        for p in range(pixels):
            first = emitting.load(self._start, channel, BLOCK)
            emitting.store(sums[p], first, 0, BLOCK)
        kernel = self._spec.window.kernel
        if kernel[1] <= _UNROLLED:
            with T.serial(0, kernel[0]) as ky:
                for kx, p in itertools.product(range(kernel[1]), range(pixels)):
                    self._product(sums, (y, x), channel, (ky, kx), p)
        else:
            with T.serial(0, kernel[0]) as ky, T.serial(0, kernel[1]) as kx:
                for p in range(pixels):
                    self._product(sums, (y, x), channel, (ky, kx), p)
        for p in range(pixels):
            self._finish(sums, (y, x), channel, p)

    def _product(self, sums: Buffer, at: Expr, channel: Expr, step: Expr, pixel: int) -> None:
        window, channels = self._spec.window, self._spec.channels
        row = at[0] * window.strides[0] + step[0] * window.dilations[0]
        column = (at[1] + pixel) * window.strides[1] + step[1] * window.dilations[1]
        index = (row * self._area.padded_width + column) * channels + channel
        value = emitting.cast(self._image.load(index, BLOCK), "int32", BLOCK)
        tap = (step[0] * window.kernel[1] + step[1]) * channels + channel
        weight = emitting.cast(emitting.load(self._weights, tap, BLOCK), "int32", BLOCK)
        total = emitting.load(sums[pixel], 0, BLOCK)
        emitting.store(sums[pixel], total + value * weight, 0, BLOCK)

    def _finish(self, sums: Buffer, at: Expr, channel: Expr, pixel: int) -> None:
        total = emitting.cast(emitting.load(sums[pixel], 0, BLOCK), "float32", BLOCK)
        steps = total * emitting.load(self._scale, channel, BLOCK)
        index = (at[0] * self._spec.window.out[1] + at[1] + pixel) * self._spec.channels + channel
        value = emitting.finished(steps, self._spec.output, BLOCK)
        emitting.store(self._out, value, index, BLOCK, self._i)


_UNROLLED = 7
"""Columns of a window up to which its row is unrolled, so that neighbours share their loads."""
