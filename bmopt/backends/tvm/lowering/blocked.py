"""Tensors in blocks of channels, with room for the padding of those who read them.

``N C H W`` is stored as ``N C/b H' W' b``: ``b`` channels lie side by side, so one vector holds a
pixel of a block. ``H'`` and ``W'`` include a halo of zeros, as wide as the widest padding of the
convolutions that read the tensor: whoever writes the tensor writes the zeros, and a padded
convolution needs neither a copy nor a condition. A block of one is TVM's and ONNX's own layout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from bmopt.backends.tvm.lowering.stmts import Buffer, Expr, Native, lanes_at, load, tensor, whole


@dataclasses.dataclass(frozen=True)
class Halo:
    """Rows and columns of zeros around a tensor's pixels."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def covers(self, other: Halo) -> bool:
        """Return whether it is as wide as another on every side."""
        return self == widest([self, other])


def widest(halos: Iterable[Halo]) -> Halo:
    """Return the least halo that covers all of them."""
    sides = [dataclasses.astuple(Halo()), *(dataclasses.astuple(one) for one in halos)]
    return Halo(*(max(side) for side in zip(*sides, strict=True)))


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a tensor is stored.

    Attributes:
        batch: Its first size, a number or a symbol.
        channels: Channels, without those that fill the last block.
        height: Rows, without the halo.
        width: Columns, without the halo.
        block: Channels side by side; the axis is left out where it is one.
        halo: Zeros around the pixels.
    """

    batch: Native
    channels: int
    height: int
    width: int
    block: int
    halo: Halo = Halo()

    @property
    def blocks(self) -> int:
        """Return the number of blocks."""
        return -(-self.channels // self.block)

    @property
    def shape(self) -> list[Native]:
        """Return the stored sizes."""
        rows = self.height + self.halo.top + self.halo.bottom
        columns = self.width + self.halo.left + self.halo.right
        sizes = [self.batch, self.blocks, rows, columns]
        return sizes if self.block == 1 else [*sizes, self.block]

    @property
    def vectors(self) -> int:
        """Return the pixels of all blocks, without the halo, of one sample."""
        return self.blocks * self.height * self.width

    def declare(self, name: str) -> Buffer:
        """Declare a tensor stored so."""
        return tensor(name, self.shape)

    def vector(self, n: Expr, block: Expr, row: Expr, column: Expr) -> list[Expr]:
        """Return the indices of a pixel of a block; row and column count from the halo's end."""
        place = [n, block, row + self.halo.top, column + self.halo.left]
        return place if self.block == 1 else [*place, lanes_at(whole(0), self.block)]

    def scalar(self, buffer: Buffer, place: list[Expr], lane: Expr) -> Expr:
        """Read one channel of a pixel; ``place`` is the batch, block, row and column."""
        n, block, row, column = place
        indices = [n, block, row + self.halo.top, column + self.halo.left]
        return load(buffer, *(indices if self.block == 1 else [*indices, lane]))
