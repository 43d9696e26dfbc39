"""How many output pixels and blocks of channels a convolution keeps in registers."""

from __future__ import annotations

import dataclasses
import itertools

from bmopt.backends.tvm.integers.machine import Machine
from bmopt.backends.tvm.tuning.decisions import decided

_MOST_TRIED = 48
_LATENCY = 5
"""Instructions that must be in flight for a dot product a cycle, with two units."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """Sums kept in registers.

    Attributes:
        rows: Output rows.
        columns: Output columns.
        blocks: Blocks of output channels.
    """

    rows: int
    columns: int
    blocks: int

    @property
    def pixels(self) -> int:
        """Output pixels."""
        return self.rows * self.columns


def tile_for(machine: Machine, height: int, width: int, blocks: int) -> Tile:
    """Return the tile that takes the fewest cycles for an output of this size, unless tuned.

    A step of a tile issues a dot product per pixel and vector of channels, two a cycle, and
    loads each pixel's channels and each vector of weights once.
    """
    choices = [
        Tile(rows, columns, together)
        for rows, columns, together in itertools.product(
            (1, 2, 4), range(1, width + 1), (1, 2, 3, 4)
        )
        if height % rows == 0
        and blocks % together == 0
        and rows * columns * together * machine.vectors <= machine.accumulators
    ]
    order = sorted(choices, key=lambda t: (_cycles(machine, t, height, width, blocks), t.pixels))
    return Tile(*decided("tile", [dataclasses.astuple(one) for one in order[:_MOST_TRIED]]))


def _cycles(machine: Machine, tile: Tile, height: int, width: int, blocks: int) -> float:
    whole, rest = divmod(width, tile.columns)
    row = whole * _step(machine, tile.pixels, tile.blocks)
    row += _step(machine, tile.rows * rest, tile.blocks) if rest else 0
    return row * (height // tile.rows) * (blocks // tile.blocks)


def _step(machine: Machine, pixels: int, blocks: int) -> float:
    vectors = blocks * machine.vectors
    return max(pixels * vectors / 2, (pixels + vectors) / 2, _LATENCY)
