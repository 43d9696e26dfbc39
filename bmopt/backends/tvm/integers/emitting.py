"""Pieces of which integer kernels are written: functions, vector loads, rounding, padding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.s_tir import SBlock, SBlockRealize
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812 - as TVM's own sources call it

from bmopt.backends.tvm.integers.native import Buffer, Expr, PrimFunc

_OPAQUE = 8
_MAGIC = 12582912.0
"""1.5 * 2^23: adding it to a float32 below 2^22 leaves the nearest integer, ties to even, in the
low bits, on every processor."""
_MAGIC_BITS = 0x4B400000


@dataclasses.dataclass(frozen=True)
class Output:
    """What a kernel writes.

    Attributes:
        dtype: The stored type, or ``float32``, which is neither rounded nor limited.
        zero: Zero point as a stored value.
        low: Least value, in steps from the zero point; a fused Relu or Clip raises it.
        high: Greatest value, in steps from the zero point.
    """

    dtype: str
    zero: int = 0
    low: float = 0.0
    high: float = 0.0


def function(buffers: Sequence[tuple[Sequence[Expr], str]], body: Callable[..., None]) -> PrimFunc:
    """Return the PrimFunc over ``buffers`` (shape, dtype; the last is written) with ``body``.

    ``body`` is called with the buffers and emits statements.
    """
    with IRBuilder() as building, T.prim_func():
        T.func_attr({"tirx.noalias": True, "op_pattern": _OPAQUE, "s_tir": True})
        body(*[T.arg(f"b{i}", T.buffer(list(s), d)) for i, (s, d) in enumerate(buffers)])
    made = building.get()
    # TVM's passes look for a block, and leave what is in this one alone.
    root = SBlock([], [], [], "root", made.body)
    return made.with_body(SBlockRealize([], True, root))


def batch() -> Expr:
    """Return a fresh batch size."""
    return tirx.Var("n", "int64")


def load(buffer: Buffer, index: Expr, lanes: int, *outer: Expr) -> Expr:
    """Return ``lanes`` elements of ``buffer`` from ``index`` of its last axis."""
    at = T.ramp(index, 1, lanes) if lanes > 1 else index
    return tirx.BufferLoad(buffer, [*outer, at])


def store(buffer: Buffer, value: Expr, index: Expr, lanes: int, *outer: Expr) -> None:
    """Write ``lanes`` elements to ``buffer`` from ``index`` of its last axis."""
    T.buffer_store(buffer, value, [*outer, T.ramp(index, 1, lanes) if lanes > 1 else index])


def registers(count: int, lanes: int) -> list[Expr]:
    """Return vectors of int32 to be kept in registers.

    Each is a small buffer of the default scope: TVM takes others from a pool, where no compiler
    finds them.
    """
    return [T.alloc_buffer((lanes,), "int32") for _ in range(count)]


def cast(value: Expr, dtype: str, lanes: int) -> Expr:
    """Return ``value`` in another element type."""
    return tirx.Cast(dtype if lanes == 1 else f"{dtype}x{lanes}", value)


def splat(value: float, dtype: str, lanes: int) -> Expr:
    """Return a constant in every lane."""
    scalar = tirx.const(value, dtype)
    return scalar if lanes == 1 else tirx.Broadcast(scalar, lanes)


def finished(steps: Expr, out: Output, lanes: int) -> Expr:
    """Return float32 ``steps`` from the zero point as what is stored: rounded and saturated.

    A multiplication in float32 was measured against one by a 31-bit integer and a shift in 64
    bits: 4 to 30 % less time per convolution on AVX-512, and 5 in a million results another step
    than in real arithmetic, where the other had none.
    """
    if out.dtype == "float32":
        return steps
    limited = tirx.min(steps, splat(out.high, "float32", lanes))
    limited = tirx.max(limited, splat(out.low, "float32", lanes))
    wide = "int32" if lanes == 1 else f"int32x{lanes}"
    bits = tirx.reinterpret(wide, limited + splat(_MAGIC, "float32", lanes))
    whole = bits + splat(out.zero - _MAGIC_BITS, "int32", lanes)
    return cast(whole, out.dtype, lanes)


def loop(extent: Expr, *, is_parallel: bool = False) -> Expr:
    """Return the frame of a loop, over cores if asked for."""
    return T.parallel(0, extent) if is_parallel else T.serial(0, extent)


def chunk(length: int) -> int:
    """Return the widest vector of bytes, up to 64, that divides ``length``."""
    return next(width for width in (64, 32, 16, 8, 4, 2, 1) if length % width == 0)


def fill(buffer: Buffer, start: Buffer, length: int, value: int) -> None:
    """Write ``value`` to ``length`` bytes."""
    if length == 0:
        return
    lanes = chunk(length)
    with T.serial(0, length // lanes) as i:
        store(buffer, splat(value, buffer.dtype, lanes), start + i * lanes, lanes)


def copy(
    target: Buffer, start: Buffer, source: Buffer, index: Expr, length: int, *outer: Expr
) -> None:
    """Copy ``length`` bytes from ``source[outer][index:]`` to ``target[start:]``."""
    lanes = chunk(length)
    with T.serial(0, length // lanes) as i:
        value = load(source, index + i * lanes, lanes, *outer)
        store(target, value, start + i * lanes, lanes)


def padded(source: Buffer, image: Buffer, area: Area, zero: int) -> Expr:
    """Return a buffer that holds one image of ``source`` with a border of ``zero``."""
    row = area.padded_width * area.channels
    inner = area.width * area.channels
    left, right = area.left * area.channels, row - (area.left * area.channels + inner)
    buffer = T.alloc_buffer((area.padded_height * row,), source.dtype)
    fill(buffer, 0, area.top * row, zero)
    with T.serial(0, area.height) as y:
        at = (y + area.top) * row
        fill(buffer, at, left, zero)
        copy(buffer, at + left, source, y * inner, inner, image)
        fill(buffer, at + left + inner, right, zero)
    below = area.padded_height - area.top - area.height
    fill(buffer, (area.top + area.height) * row, below * row, zero)
    return buffer


@dataclasses.dataclass(frozen=True)
class Area:
    """One stored image: channels innermost, and the border around it.

    Attributes:
        height: Rows.
        width: Columns.
        channels: Channels as stored.
        top: Rows of border above.
        left: Columns of border to the left.
        padded_height: Rows with both borders.
        padded_width: Columns with both borders.
    """

    height: int
    width: int
    channels: int
    top: int
    left: int
    padded_height: int
    padded_width: int

    @property
    def is_padded(self) -> bool:
        """Whether there is a border."""
        return (self.padded_height, self.padded_width) != (self.height, self.width)

    @property
    def size(self) -> int:
        """Elements without the border."""
        return self.height * self.width * self.channels


class Image:
    """Reads one image, with or without its border, by its index in it."""

    def __init__(self, source: Buffer, image: Buffer, area: Area, zero: int) -> None:
        self._outer = () if area.is_padded else (image,)
        self._buffer = padded(source, image, area, zero) if area.is_padded else source

    def load(self, index: Expr, lanes: int) -> Expr:
        """Return ``lanes`` elements from ``index``."""
        return load(self._buffer, index, lanes, *self._outer)
