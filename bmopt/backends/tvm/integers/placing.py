"""Kernels that only move values: concatenation, slices and padding of stored images."""

from __future__ import annotations

import dataclasses

from tvm.tirx.script import builder as T  # noqa: N812

from bmopt.backends.tvm.integers import emitting, rounding
from bmopt.backends.tvm.integers.emitting import Output
from bmopt.backends.tvm.integers.machine import Machine
from bmopt.backends.tvm.integers.native import Buffer, Expr, PrimFunc


@dataclasses.dataclass(frozen=True)
class Part:
    """A region of one input, and where it goes; triples are row, column, channel.

    Attributes:
        size: The input's rows, columns, channels as stored.
        start: First element taken.
        step: Distance between elements taken; that of channels is 1.
        count: Elements taken.
        to: Where the first goes.
        zero: Zero point of the input as a stored value.
        scale: Of the input.
        into: Scale of the result; 0 where the input's encoding is kept.
    """

    size: tuple[int, int, int]
    start: tuple[int, int, int]
    step: tuple[int, int, int]
    count: tuple[int, int, int]
    to: tuple[int, int, int]
    zero: int = 0
    scale: float = 0.0
    into: float = 0.0


@dataclasses.dataclass(frozen=True)
class Placing:
    """An image made of parts of others.

    Attributes:
        parts: One per input.
        size: The result's rows, columns, channels as stored.
        output: What it writes; where no part writes, its zero point.
    """

    parts: tuple[Part, ...]
    size: tuple[int, int, int]
    output: Output

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc ``(input, ..., out)``."""
        n = emitting.batch()
        sizes = [*(p.size for p in self.parts), self.size]
        buffers = [((n, s[0] * s[1] * s[2]), machine.stored) for s in sizes]
        return emitting.function(buffers, lambda *b: self._body(n, b[:-1], b[-1], machine))

    def _body(self, n: Expr, inputs: Buffer, out: Buffer, machine: Machine) -> None:
        with T.serial(0, n) as i:
            length = self.size[0] * self.size[1] * self.size[2]
            lanes = emitting.chunk(length)
            with T.serial(0, length // lanes) as at:
                value = emitting.splat(self.output.zero, out.dtype, lanes)
                emitting.store(out, value, at * lanes, lanes, i)
            for part, source in zip(self.parts, inputs, strict=True):
                self._part(i, part, source, out, machine)

    def _part(self, i: Expr, part: Part, source: Buffer, out: Buffer, machine: Machine) -> None:
        lanes = min(16, emitting.chunk(part.count[2]))
        with T.grid(part.count[0], part.count[1], part.count[2] // lanes) as (y, x, c):
            taken = [part.start[0] + y * part.step[0], part.start[1] + x * part.step[1]]
            at = (taken[0] * part.size[1] + taken[1]) * part.size[2] + part.start[2]
            put = ((part.to[0] + y) * self.size[1] + part.to[1] + x) * self.size[2] + part.to[2]
            value = emitting.load(source, at + c * lanes, lanes, i)
            value = self._recoded(value, part, lanes, machine)
            emitting.store(out, value, put + c * lanes, lanes, i)

    def _recoded(self, value: Expr, part: Part, lanes: int, machine: Machine) -> Expr:
        if not part.into:
            return value
        real = rounding.dequantised(value, part.zero, part.scale, lanes)
        steps = rounding.quotient(real, part.into, lanes, machine)
        return emitting.finished(steps, self.output, lanes)
