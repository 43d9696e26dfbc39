"""Kernels between plain tensors and stored ones: quantise, dequantise, and change of layout.

A plain tensor is ``[n, c, h, w]``, or ``[n, ..., c]`` with fewer axes; a stored one is
``[n, pixels * channels]``, channels innermost and padded.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from bmopt.backends.tvm.integers import emitting, rounding
from bmopt.backends.tvm.integers.emitting import Output
from bmopt.backends.tvm.integers.machine import BLOCK, Machine
from bmopt.backends.tvm.integers.native import Buffer, Expr, PrimFunc


@dataclasses.dataclass(frozen=True)
class Layout:
    """A tensor both ways.

    Attributes:
        dims: The plain tensor's axes behind the batch.
        channels: Channels as stored.
    """

    dims: tuple[int, ...]
    channels: int

    @property
    def depth(self) -> int:
        """Channels of the plain tensor."""
        return self.dims[0] if len(self.dims) == 3 else self.dims[-1]

    @property
    def pixels(self) -> int:
        """Everything else."""
        return int(np.prod(self.dims)) // self.depth

    @property
    def size(self) -> int:
        """Elements stored."""
        return self.pixels * self.channels

    def plain(self, pixel: Expr, channel: Expr) -> Expr:
        """Return the index in the flattened plain tensor."""
        if len(self.dims) == 3:
            return channel * self.pixels + pixel
        return pixel * self.depth + channel


@dataclasses.dataclass(frozen=True)
class Pack:
    """A plain tensor becomes a stored one.

    Attributes:
        layout: Both.
        dtype: The plain element type: float32 is quantised, 8-bit types are kept.
        scale: Scale, for float32.
        output: What is written, for float32.
    """

    layout: Layout
    dtype: str
    scale: float
    output: Output

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc ``(plain, stored)``."""
        n = emitting.batch()
        buffers = [
            ((n, *self.layout.dims), self.dtype),
            ((n, self.layout.size), machine.stored),
        ]
        return emitting.function(buffers, lambda a, b: self._body(n, a, b, machine))

    def _body(self, n: Expr, plain: Buffer, stored: Buffer, machine: Machine) -> None:
        flat = _flattened(plain, n, int(np.prod(self.layout.dims)))
        with T.serial(0, n) as i:
            if self.layout.channels == 4 and len(self.layout.dims) == 3:
                self._by_fours(i, flat, stored, machine)
            else:
                self._by_channels(i, flat, stored, machine)

    def _by_fours(self, i: Expr, flat: Buffer, stored: Buffer, machine: Machine) -> None:
        """Write four channels of 16 pixels with one store."""
        whole, rest = divmod(self.layout.pixels, BLOCK)
        with T.serial(0, whole) as p:
            self._quads(i, p * BLOCK, BLOCK, flat, stored, machine)
        with T.serial(0, rest) as p:
            self._quads(i, whole * BLOCK + p, 1, flat, stored, machine)

    def _quads(
        self, i: Expr, pixel: Expr, lanes: int, flat: Buffer, stored: Buffer, machine: Machine
    ) -> None:
        wide: Expr = emitting.splat(0, "int32", lanes)
        for c in range(self.layout.depth):
            value = emitting.load(flat, self.layout.plain(pixel, c), lanes, i)
            value = emitting.cast(self._coded(value, lanes, machine), "int32", lanes)
            value = tirx.bitwise_and(value, emitting.splat(255, "int32", lanes))
            shifted = value * emitting.splat(1 << 8 * c, "int32", lanes) if c < 3 else value << 24
            wide = tirx.bitwise_or(wide, shifted)
        bytes_ = tirx.reinterpret(f"{machine.stored}x{4 * lanes}", wide)
        emitting.store(stored, bytes_, pixel * 4, 4 * lanes, i)

    def _by_channels(self, i: Expr, flat: Buffer, stored: Buffer, machine: Machine) -> None:
        layout = self.layout
        lanes = 1 if len(layout.dims) == 3 else min(BLOCK, emitting.chunk(layout.depth))
        with T.serial(0, layout.pixels) as p:
            with T.serial(0, layout.depth // lanes) as c:
                value = emitting.load(flat, layout.plain(p, c * lanes), lanes, i)
                at = p * layout.channels + c * lanes
                emitting.store(stored, self._coded(value, lanes, machine), at, lanes, i)
            with T.serial(0, layout.channels - layout.depth) as c:
                at = p * layout.channels + layout.depth + c
                emitting.store(stored, tirx.const(0, machine.stored), at, 1, i)

    def _coded(self, value: Expr, lanes: int, machine: Machine) -> Expr:
        if self.dtype != "float32":
            return _recoded(value, self.dtype, machine.stored, lanes)
        # Infinities have no remainder that a quotient could be corrected by.
        low, high = self.output.low - 1, self.output.high + 1
        value = tirx.min(value, emitting.splat(high * self.scale, "float32", lanes))
        value = tirx.max(value, emitting.splat(low * self.scale, "float32", lanes))
        steps = rounding.quotient(value, self.scale, lanes, machine)
        return emitting.finished(steps, self.output, lanes)


@dataclasses.dataclass(frozen=True)
class Unpack:
    """A stored tensor becomes a plain one.

    Attributes:
        layout: Both.
        source: The stored element type: the machine's, or float32, which is only moved.
        dtype: The plain element type: float32 is dequantised, 8-bit types are kept.
        scale: Scale, for what is dequantised.
        zero: Zero point as a stored value.
    """

    layout: Layout
    source: str
    dtype: str
    scale: float = 1.0
    zero: int = 0

    def function(self, machine: Machine) -> PrimFunc:
        """Return a PrimFunc ``(stored, plain)``."""
        n = emitting.batch()
        buffers = [((n, self.layout.size), self.source), ((n, *self.layout.dims), self.dtype)]
        return emitting.function(buffers, lambda a, b: self._body(n, a, b))

    def _body(self, n: Expr, stored: Buffer, plain: Buffer) -> None:
        layout = self.layout
        flat = _flattened(plain, n, int(np.prod(layout.dims)))
        lanes = 1 if len(layout.dims) == 3 else min(BLOCK, emitting.chunk(layout.depth))
        with T.grid(n, layout.depth // lanes, layout.pixels) as (i, c, p):
            value = emitting.load(stored, p * layout.channels + c * lanes, lanes, i)
            at = layout.plain(p, c * lanes)
            emitting.store(flat, self._decoded(value, lanes), at, lanes, i)

    def _decoded(self, value: Expr, lanes: int) -> Expr:
        if self.source == "float32":
            return value
        if self.dtype != "float32":
            return _recoded(value, self.source, self.dtype, lanes)
        whole = emitting.cast(value, "int32", lanes) - emitting.splat(self.zero, "int32", lanes)
        return emitting.cast(whole, "float32", lanes) * emitting.splat(
            self.scale, "float32", lanes
        )


def _flattened(buffer: Buffer, n: Expr, size: int) -> Expr:
    """Return the same memory seen as ``[n, size]``."""
    return T.decl_buffer([n, size], buffer.dtype, data=buffer.data)


def _recoded(value: Expr, source: str, target: str, lanes: int) -> Expr:
    """Return 8-bit values with the sign bit turned where one type is signed and one is not."""
    if source == target:
        return value
    shift = -128 if source == "uint8" else 128
    whole = emitting.cast(value, "int32", lanes) + emitting.splat(shift, "int32", lanes)
    return emitting.cast(whole, target, lanes)
