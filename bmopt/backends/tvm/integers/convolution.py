"""Dense and grouped convolution of stored 8-bit images; a matrix product is one of 1 x 1.

Output channels are computed in blocks, several output pixels at a time, so that the sums stay in
registers; every instruction multiplies the channels of one pixel, spread to all lanes, by the
weights of as many output channels as there are lanes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from bmopt.backends.tvm.integers import emitting, rounding
from bmopt.backends.tvm.integers.emitting import Image, Output
from bmopt.backends.tvm.integers.machine import BLOCK, Machine
from bmopt.backends.tvm.integers.native import Buffer, Expr, PrimFunc
from bmopt.backends.tvm.integers.tiling import Tile, tile_for
from bmopt.backends.tvm.integers.window import Window, stored_channels


@dataclasses.dataclass(frozen=True)
class Convolution:
    """What a convolution computes.

    Attributes:
        window: Over the image.
        channels: Input channels as stored.
        zero: Zero point of the input as a stored value, for the border.
        starts: Per block of output channels, the first input channel that it reads.
        reads: Input channels that a block reads, a multiple of the machine's group.
        output: What it writes.
        are_narrow: Whether two products always fit 16 bits.
        has_offset: Whether there is a bias that the integer sums cannot hold.
    """

    window: Window
    channels: int
    zero: int
    starts: tuple[int, ...]
    reads: int
    output: Output
    are_narrow: bool = False
    has_offset: bool = False

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return len(self.starts)

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc ``(image, weights, start, scale, [offset,] out)``.

        ``image`` and ``out`` are ``[n, pixels * channels]``, ``start`` int32, ``scale`` and
        ``offset`` float32 of one element per output channel:
        out = scale * (start + sum of products) + offset.
        """
        machine = machine.for_weights(are_narrow=self.are_narrow)
        n = emitting.batch()
        rows, columns = self.window.out
        channels = self.blocks * BLOCK
        weights = channels * self.reads * int(np.prod(self.window.kernel))
        buffers = [
            ((n, self.window.area(self.channels).size), machine.stored),
            ((weights,), "int8"),
            ((channels,), "int32"),
            *[((channels,), "float32")] * (1 + self.has_offset),
            ((n, rows * columns * channels), self.output.dtype),
        ]
        return emitting.function(buffers, _Emitter(self, machine, n).body)


def grouped_reads(
    weights: npt.NDArray[np.int8], groups: int, machine: Machine
) -> tuple[tuple[int, ...], int]:
    """Return per block the first input channel read, and how many a block reads at most."""
    outs, ins = weights.shape[0] // groups, weights.shape[1]
    starts, ends = [], []
    for first in range(0, weights.shape[0], BLOCK):
        last = min(first + BLOCK, weights.shape[0]) - 1
        starts.append(first // outs * ins // machine.group * machine.group)
        ends.append((last // outs + 1) * ins)
    longest = max(e - s for s, e in zip(starts, ends, strict=True))
    reads = -(-longest // machine.group) * machine.group
    room = stored_channels(ins * groups)
    return tuple(min(s, room - reads) for s in starts), reads


def packed(weights: npt.NDArray[np.int8], groups: int, machine: Machine) -> npt.NDArray[np.int8]:
    """Return weights ``[O, I / groups, kh, kw]`` as kernels read them: a flat int8 array.

    Order: block of output channels, kernel row and column, group of input channels, output
    channel in the block, input channel in the group. What a block reads of other groups is 0.
    """
    starts, reads = grouped_reads(weights, groups, machine)
    outs, ins = weights.shape[0] // groups, weights.shape[1]
    wide = np.zeros((len(starts) * BLOCK, reads, *weights.shape[2:]), np.int8)
    for o in range(weights.shape[0]):
        at = o // outs * ins - starts[o // BLOCK]
        wide[o, at : at + ins] = weights[o]
    split = wide.reshape(
        len(starts), BLOCK, reads // machine.group, machine.group, *weights.shape[2:]
    )
    return np.ascontiguousarray(split.transpose(0, 4, 5, 2, 1, 3)).reshape(-1)


def are_narrow(weights: npt.NDArray[np.int8]) -> bool:
    """Whether two products of packed weights and any uint8 activations fit 16 bits."""
    pairs = weights.astype(np.int32).reshape(-1, 2)
    most = np.maximum(pairs, 0).sum(axis=1).max(initial=0)
    return bool(255 * max(most, 0) < 1 << 15 and np.minimum(pairs, 0).sum(axis=1).min() >= -128)


class _Emitter:
    def __init__(self, conv: Convolution, machine: Machine, n: Expr) -> None:
        self._flat = conv.window.is_pointwise
        self._conv = dataclasses.replace(conv, window=conv.window.flat()) if self._flat else conv
        self._machine = machine
        self._n = n
        rows, columns = self._conv.window.out
        self._tile = tile_for(machine, rows, columns, conv.blocks)

    def body(self, image: Buffer, weights: Buffer, start: Buffer, *rest: Buffer) -> None:
        self._weights, self._start, self._scaling, self._out = weights, start, rest[:-1], rest[-1]
        window = self._conv.window
        with T.serial(0, self._n) as i:
            self._i = i
            area = window.area(self._conv.channels)
            self._image = Image(image, i, area, self._conv.zero)
            with emitting.loop(window.out[0] // self._tile.rows, is_parallel=self._is_big()) as y:
                self._row(y * self._tile.rows)

    def _is_big(self) -> bool:
        rows, columns = self._conv.window.out
        work = rows * columns * self._conv.blocks * BLOCK * self._conv.reads
        work *= int(np.prod(self._conv.window.kernel))
        return self._machine.pays_to_share(work, is_dot=True)

    def _row(self, y: Expr) -> None:
        together, vectors = self._tile.blocks, self._machine.vectors
        self._registers = emitting.registers(
            self._tile.pixels * together * vectors, self._machine.lanes
        )
        if not any(self._conv.starts):
            with T.serial(0, self._conv.blocks // together) as b:
                self._blocks(y, b * together, [0] * together)
            return
        for first in range(0, self._conv.blocks, together):
            at = list(self._conv.starts[first : first + together])
            self._blocks(y, tirx.const(first, "int64"), at)

    def _blocks(self, y: Expr, block: Expr, starts: list[int]) -> None:
        whole, rest = divmod(self._conv.window.out[1], self._tile.columns)
        with T.serial(0, whole) as x:
            self._sums(y, x * self._tile.columns, block, starts, self._tile)
        if rest:
            tile = dataclasses.replace(self._tile, columns=rest)
            at = tirx.const(whole * self._tile.columns, "int64")
            self._sums(y, at, block, starts, tile)

    def _sums(self, y: Expr, x: Buffer, block: Expr, starts: list[int], tile: Tile) -> None:
        """Compute one tile: its sums, then what is stored of them."""
        lanes, vectors = self._machine.lanes, self._machine.vectors
        sums = self._registers
        for p in range(tile.pixels):
            for v in range(tile.blocks * vectors):
                first = emitting.load(self._start, block * BLOCK + v * lanes, lanes)
                emitting.store(sums[self._at(tile, p, v)], first, 0, lanes)
        kernel = self._conv.window.kernel
        with T.grid(*kernel, self._conv.reads // self._machine.group) as step:
            self._products(sums, (y, x), block, starts, step, tile)
        for p in range(tile.pixels):
            for v in range(tile.blocks * vectors):
                self._finish(sums, (y, x), block, p, v, tile)

    def _at(self, tile: Tile, pixel: int, vector: int) -> int:
        return pixel * tile.blocks * self._machine.vectors + vector

    def _products(
        self, sums: Buffer, at: Expr, block: Expr, starts: list[int], step: Expr, tile: Tile
    ) -> None:
        machine = self._machine
        lanes, vectors = machine.lanes, machine.vectors
        for v in range(tile.blocks * vectors):
            weights = self._weights_of(block + v // vectors, v % vectors, step)
            for p in range(tile.pixels):
                values = self._values(at, p, starts[v // vectors], step, tile)
                register = sums[self._at(tile, p, v)]
                total = machine.multiply_add(emitting.load(register, 0, lanes), values, weights)
                emitting.store(register, total, 0, lanes)

    def _weights_of(self, block: Expr, vector: int, step: Expr) -> Expr:
        ky, kx, c = step
        kernel, machine = self._conv.window.kernel, self._machine
        group = ((block * kernel[0] + ky) * kernel[1] + kx) * (
            self._conv.reads // machine.group
        ) + c
        at = group * (BLOCK * machine.group) + vector * machine.lanes * machine.group
        return emitting.load(self._weights, at, machine.lanes * machine.group)

    def _values(self, at: Expr, pixel: int, start: int, step: Expr, tile: Tile) -> Expr:
        window, machine = self._conv.window, self._machine
        ky, kx, c = step
        area = window.area(self._conv.channels)
        row = (at[0] + pixel // tile.columns) * window.strides[0] + ky * window.dilations[0]
        column = (at[1] + pixel % tile.columns) * window.strides[1] + kx * window.dilations[1]
        index = (row * area.padded_width + column) * self._conv.channels + start
        return self._image.load(index + c * machine.group, machine.group)

    def _finish(
        self, sums: Buffer, at: Expr, block: Expr, pixel: int, vector: int, tile: Tile
    ) -> None:
        lanes = self._machine.lanes
        channel = block * BLOCK + vector * lanes
        total = emitting.load(sums[self._at(tile, pixel, vector)], 0, lanes)
        steps = rounding.scaled(total, self._scaling, channel, lanes, self._machine)
        row, column = at[0] + pixel // tile.columns, at[1] + pixel % tile.columns
        index = (row * self._conv.window.out[1] + column) * (self._conv.blocks * BLOCK) + channel
        value = emitting.finished(steps, self._conv.output, lanes)
        emitting.store(self._out, value, index, lanes, self._i)
