"""Pools in blocks: the largest, the mean, and the mean of all pixels."""

from __future__ import annotations

import dataclasses
import math

from tvm import tirx

from bmopt.backends.tvm.lowering.blocked import Layout
from bmopt.backends.tvm.lowering.borders import with_borders
from bmopt.backends.tvm.lowering.conv_kernel import Window
from bmopt.backends.tvm.lowering.machine import Machine
from bmopt.backends.tvm.lowering.steps import Epilogue, Place
from bmopt.backends.tvm.lowering.stmts import (
    Buffer,
    Expr,
    Native,
    PrimFunc,
    Stmt,
    function,
    grid,
    lanes_at,
    load,
    local,
    loop,
    real,
    seq,
    spread,
    store,
    whole,
)

_LOWEST = -math.inf


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool.

    Attributes:
        source: How its input is stored.
        output: How its output is stored.
        window: Its window.
        largest: Whether it takes the largest; else the mean.
        after: Rows and columns of padding below and to the right.
        counts_padding: Whether the mean is over the padding too.
    """

    source: Layout
    output: Layout
    window: Window
    largest: bool = False
    after: tuple[int, int] = (0, 0)
    counts_padding: bool = False


def pool_kernel(pool: Pool, epilogue: Epilogue, machine: Machine) -> PrimFunc:
    """Return a function of a tensor, the epilogue's and the output."""
    return _Kernel(pool, epilogue).function(machine)


class _Kernel:
    def __init__(self, pool: Pool, epilogue: Epilogue) -> None:
        self.pool, self.epilogue = pool, epilogue
        self.block = pool.output.block
        self.source = pool.source.declare("source")
        self.output = pool.output.declare("output")

    def function(self, machine: Machine) -> PrimFunc:
        output = self.pool.output
        parts = (output.blocks, output.height)
        height, width = self.pool.window.size
        parallel = machine.shares(2.0 * output.vectors * height * width)
        body = grid(output.batch, parts, self._row, parallel=parallel)
        return function(
            [self.source, *self.epilogue.buffers, self.output],
            body,
            "pool",
            f"pool-nchw{self.block}c",
        )

    def _row(self, n: Expr, block: Expr, y: Expr) -> Stmt:
        output = self.pool.output
        body = loop("x", output.width, lambda x: self._pixel(Place(n, block, y, x)))
        return with_borders(output, self.output, (n, block, y), 1, body)

    def _pixel(self, at: Place) -> Stmt:
        pool, one = self.pool, local("sum", self.block)
        lanes = lanes_at(whole(0), self.block)
        height, width = pool.window.size
        start = spread(real(_LOWEST if pool.largest else 0.0), self.block)
        value = load(one, lanes)
        if not pool.largest:
            value = value * spread(self._share(at), self.block)
        target = pool.output.vector(at.n, at.block, at.row, at.column)
        return seq(
            tirx.AllocBuffer(one),
            store(one, start, lanes),
            loop(
                "ky", height, lambda ky: loop("kx", width, lambda kx: self._tap(at, one, ky, kx))
            ),
            store(self.output, self.epilogue.applied(value, at), *target),
        )

    def _tap(self, at: Place, one: Buffer, ky: Expr, kx: Expr) -> Stmt:
        pool, window, lanes = self.pool, self.pool.window, lanes_at(whole(0), self.block)
        row = at.row * window.strides[0] + ky * window.dilation[0] - window.before[0]
        column = at.column * window.strides[1] + kx * window.dilation[1] - window.before[1]
        value = load(self.source, *pool.source.vector(at.n, at.block, row, column))
        old = load(one, lanes)
        body = store(one, tirx.max(old, value) if pool.largest else old + value, lanes)
        inside = [
            *_inside(row, pool.source.height, self._leaves(0)),
            *_inside(column, pool.source.width, self._leaves(1)),
        ]
        return tirx.IfThenElse(tirx.all(*inside), body, None) if inside else body

    def _leaves(self, axis: int) -> bool:
        """Return whether the window leaves the tensor anywhere."""
        pool, window = self.pool, self.pool.window
        source = (pool.source.height, pool.source.width)[axis]
        output = (pool.output.height, pool.output.width)[axis]
        reach = (output - 1) * window.strides[axis] + (window.size[axis] - 1) * (
            window.dilation[axis]
        )
        return window.before[axis] > 0 or reach - window.before[axis] >= source

    def _share(self, at: Place) -> Expr:
        pool = self.pool
        sizes = ((at.row, pool.source.height), (at.column, pool.source.width))
        counts = [self._count(axis, place, size) for axis, (place, size) in enumerate(sizes)]
        if all(isinstance(count, int) for count in counts):
            return real(1.0 / (counts[0] * counts[1]))
        product = counts[0] * counts[1]
        return tirx.div(real(1.0), tirx.Cast("float32", product))

    def _count(self, axis: int, place: Expr, size: int) -> Native:
        """Return how many taps of an axis count; dilated means are not lowered here."""
        pool, window = self.pool, self.pool.window
        taps, before = window.size[axis], window.before[axis]
        if not self._leaves(axis):
            return taps
        start = place * window.strides[axis] - before
        low, high = 0, size
        if pool.counts_padding:
            low, high = -before, size + pool.after[axis]
        end = tirx.min(start + taps, whole(high))
        return end - tirx.max(start, whole(low))


def _inside(place: Expr, size: int, needed: bool) -> list[Expr]:
    if not needed:
        return []
    return [tirx.GE(place, whole(0)), tirx.LT(place, whole(size))]
