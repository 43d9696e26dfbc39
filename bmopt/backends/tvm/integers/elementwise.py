"""Addition and multiplication of stored tensors, and functions of one, by table."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from bmopt.backends.tvm.integers import emitting, rounding
from bmopt.backends.tvm.integers.emitting import Output
from bmopt.backends.tvm.integers.machine import BLOCK, Machine
from bmopt.backends.tvm.integers.native import Buffer, Expr, PrimFunc


@dataclasses.dataclass(frozen=True)
class Binary:
    """``a + b`` or ``a * b``.

    Attributes:
        op: Which.
        pixels: Pixels of ``a`` and of the result.
        channels: Channels as stored, of both.
        is_spread: ``b`` has one pixel, used for all of ``a``.
        zeros: Zero points as stored values.
        scales: Of both.
        step: Scale of the result.
        output: What it writes.
    """

    op: Literal["+", "*"]
    pixels: int
    channels: int
    is_spread: bool
    zeros: tuple[int, int]
    scales: tuple[float, float]
    step: float
    output: Output

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc ``(a, b, out)``."""
        n = emitting.batch()
        size = self.pixels * self.channels
        other = self.channels if self.is_spread else size
        dtype = machine.stored
        buffers = [((n, size), dtype), ((n, other), dtype), ((n, size), self.output.dtype)]
        return emitting.function(buffers, lambda a, b, out: self._body(n, a, b, out, machine))

    def _body(self, n: Expr, a: Buffer, b: Buffer, out: Buffer, machine: Machine) -> None:
        lanes = min(BLOCK, emitting.chunk(self.channels))
        with T.grid(n, self.pixels, self.channels // lanes) as (i, p, c):
            at = p * self.channels + c * lanes
            left = self._real(emitting.load(a, at, lanes, i), 0, lanes)
            index = c * lanes if self.is_spread else at
            right = self._real(emitting.load(b, index, lanes, i), 1, lanes)
            value = left * right if self.op == "*" else left + right
            steps = rounding.quotient(value, self.step, lanes, machine)
            emitting.store(out, emitting.finished(steps, self.output, lanes), at, lanes, i)

    def _real(self, value: Expr, which: int, lanes: int) -> Expr:
        return rounding.dequantised(value, self.zeros[which], self.scales[which], lanes)


@dataclasses.dataclass(frozen=True)
class Table:
    """A function of one tensor, element by element, by a table of its 256 values.

    Attributes:
        size: Elements of a sample.
    """

    size: int

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc ``(x, table, out)``; entry 0 is that of the least stored value."""
        n = emitting.batch()
        dtype = machine.stored
        buffers = [((n, self.size), dtype), ((256,), dtype), ((n, self.size), dtype)]
        least = int(np.iinfo(dtype).min)

        def body(x: Buffer, table: Buffer, out: Buffer) -> None:
            with T.serial(0, n) as i, T.serial(0, self.size) as at:
                index = tirx.Cast("int32", emitting.load(x, at, 1, i)) - least
                emitting.store(out, emitting.load(table, index, 1), at, 1, i)

        return emitting.function(buffers, body)
