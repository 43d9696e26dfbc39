"""Depthwise convolution of stored 8-bit images: every channel by itself, a block at a time."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from bmopt.backends.tvm.integers import emitting, rounding
from bmopt.backends.tvm.integers.emitting import Image, Output
from bmopt.backends.tvm.integers.machine import BLOCK, Machine
from bmopt.backends.tvm.integers.native import Buffer, Expr, PrimFunc
from bmopt.backends.tvm.integers.window import Window
from bmopt.backends.tvm.tuning.decisions import decided


@dataclasses.dataclass(frozen=True)
class Depthwise:
    """What a depthwise convolution computes.

    Attributes:
        window: Over the image.
        channels: Channels as stored, a multiple of the block, of the input and the output.
        zero: Zero point of the input as a stored value.
        output: What it writes.
        has_offset: Whether there is a bias that the integer sums cannot hold.
        together: Rows of the window that an instruction multiplies: 1, or 4 with a dot product.
    """

    window: Window
    channels: int
    zero: int
    output: Output
    has_offset: bool = False
    together: int = 1

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc with the parameters of a ``Convolution``'s."""
        n = emitting.batch()
        rows, columns = self.window.out
        area = self.window.area(self.channels)
        buffers = [
            ((n, area.size), machine.stored),
            ((self._taps() * self.channels,), "int8"),
            ((self.channels,), "int32"),
            *[((self.channels,), "float32")] * (1 + self.has_offset),
            ((n, rows * columns * self.channels), self.output.dtype),
        ]
        emitter = _Emitter if self.together == 1 else _DotEmitter
        return emitting.function(buffers, emitter(self, machine, n).body)

    def _taps(self) -> int:
        rows, columns = self.window.kernel
        return -(-rows // self.together) * self.together * columns


def packed(weights: npt.NDArray[np.int8], channels: int) -> npt.NDArray[np.int8]:
    """Return weights ``[C, 1, kh, kw]`` as ``[kh, kw, channels]``, flat."""
    wide = np.zeros((channels, *weights.shape[2:]), np.int8)
    wide[: len(weights)] = weights[:, 0]
    return np.ascontiguousarray(wide.transpose(1, 2, 0)).reshape(-1)


def packed_rows(weights: npt.NDArray[np.int8], channels: int) -> npt.NDArray[np.int8]:
    """Return weights ``[C, 1, kh, kw]`` as ``[kh / 4, kw, channels, 4]``, flat.

    Rows that there are not are 0.
    """
    rows = -(-weights.shape[2] // _ROWS) * _ROWS
    wide = np.zeros((channels, rows, weights.shape[3]), np.int8)
    wide[: len(weights), : weights.shape[2]] = weights[:, 0]
    split = wide.reshape(channels, rows // _ROWS, _ROWS, -1)
    return np.ascontiguousarray(split.transpose(1, 3, 0, 2)).reshape(-1)


class _Emitter:
    def __init__(self, spec: Depthwise, machine: Machine, n: Expr) -> None:
        self._spec = spec
        self._machine = machine
        self._n = n
        self._area = spec.window.area(spec.channels)
        self._width = BLOCK if spec.together == 1 else machine.lanes
        vectors = self._width // machine.lanes
        usual = max(1, min(spec.window.out[1], machine.accumulators // 2 // vectors, 8))
        most = max(usual, min(spec.window.out[1], machine.accumulators // vectors, 14))
        others = [one for one in range(most, 0, -1) if one != usual]
        self._pixels = decided("pixels", [usual, *others])

    def body(self, image: Buffer, weights: Buffer, start: Buffer, *rest: Buffer) -> None:
        self._weights, self._start, self._scaling, self._out = weights, start, rest[:-1], rest[-1]
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
        self._registers = emitting.registers(self._pixels, self._width)
        with T.serial(0, self._spec.channels // self._width) as block:
            with T.serial(0, whole) as x:
                self._sums(y, x * self._pixels, block * self._width, self._pixels)
            if rest:
                self._sums(y, whole * self._pixels, block * self._width, rest)

    def _sums(self, y: Expr, x: Buffer, channel: Expr, pixels: int) -> None:
        sums = self._registers
        for p in range(pixels):
            first = emitting.load(self._start, channel, self._width)
            emitting.store(sums[p], first, 0, self._width)
        kernel = self._spec.window.kernel
        if kernel[1] <= UNROLLED:
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
        value = emitting.cast(self._image.load(index, self._width), "int32", self._width)
        tap = (step[0] * window.kernel[1] + step[1]) * channels + channel
        weight = emitting.cast(
            emitting.load(self._weights, tap, self._width), "int32", self._width
        )
        total = emitting.load(sums[pixel], 0, self._width)
        emitting.store(sums[pixel], total + value * weight, 0, self._width)

    def _finish(self, sums: Buffer, at: Expr, channel: Expr, pixel: int) -> None:
        total = emitting.load(sums[pixel], 0, self._width)
        steps = rounding.scaled(total, self._scaling, channel, self._width, self._machine)
        index = (at[0] * self._spec.window.out[1] + at[1] + pixel) * self._spec.channels + channel
        value = emitting.finished(steps, self._spec.output, self._width)
        emitting.store(self._out, value, index, self._width, self._i)


class _DotEmitter(_Emitter):
    """Four rows of a column are the bytes that a dot product reads; the next pixel shares them."""

    def _sums(self, y: Expr, x: Buffer, channel: Expr, pixels: int) -> None:
        sums = self._registers
        for p in range(pixels):
            first = emitting.load(self._start, channel, self._width)
            emitting.store(sums[p], first, 0, self._width)
        rows, columns = self._spec.window.kernel
        for first in range(0, rows, _ROWS):
            known: dict[int, Expr] = {}
            for kx, p in itertools.product(range(columns), range(pixels)):
                window = self._spec.window
                column = p * window.strides[1] + kx * window.dilations[1]
                if column not in known:
                    known[column] = self._column((y, x), channel, first, column)
                self._add(sums[p], known[column], channel, (first // _ROWS, kx))
        for p in range(pixels):
            self._finish(sums, (y, x), channel, p)

    def _column(self, at: Expr, channel: Expr, first: int, column: int) -> Expr:
        """Return a register of int32: per channel the bytes of four rows."""
        window, channels, width = self._spec.window, self._spec.channels, self._width
        wide: Expr = None
        for r in range(min(_ROWS, window.kernel[0] - first)):
            row = at[0] * window.strides[0] + (first + r) * window.dilations[0]
            index = row * self._area.padded_width + at[1] * window.strides[1] + column
            value = self._image.load(index * channels + channel, self._width)
            value = emitting.cast(value, "int32", self._width) << emitting.splat(
                8 * r, "int32", self._width
            )
            wide = value if wide is None else tirx.bitwise_or(wide, value)
        (register,) = emitting.registers(1, width)
        emitting.store(register, wide, 0, width)
        return register

    def _add(self, sums: Buffer, column: Buffer, channel: Expr, tap: tuple[int, int]) -> None:
        lanes = self._width
        start = (tap[0] * self._spec.window.kernel[1] + tap[1]) * self._spec.channels + channel
        weights = emitting.load(self._weights, start * _ROWS, lanes * _ROWS)
        total, values = (emitting.load(one, 0, lanes) for one in (sums, column))
        emitting.store(sums, self._machine.dot_added(total, values, weights), 0, lanes)


_ROWS = 4
UNROLLED = 7
"""Columns of a window up to which its row is unrolled, so that neighbours share their loads."""
