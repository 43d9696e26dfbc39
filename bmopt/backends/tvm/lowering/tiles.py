"""How many outputs a kernel keeps in registers.

A tile is some rows and columns of some blocks of output channels. In every step of the sum, it
reads a scalar for each pixel and a vector for each block, and multiplies each with each. The
model below counts the steps' cycles on a CPU with two multiply-add units and two loads a cycle,
whose results come after four: too small a tile waits for results, too thin a one for loads.
"""

from __future__ import annotations

import dataclasses

from bmopt.backends.tvm.lowering.machine import Machine
from bmopt.backends.tvm.tuning.decisions import decided

_UNITS = 2.0
_LOADS = 2.0
_RESULT_AFTER = 4.0
_MOST_ROWS = 4
_MOST_BLOCKS = 8
_MOST_COLUMNS = 28
_STEP = 0.5
_TILE = 12.0
_MOST_TRIED = 48
_WORTH_TRYING = 3.0


@dataclasses.dataclass(frozen=True)
class Tile:
    """The outputs that are computed together.

    Attributes:
        rows: Rows of pixels; they divide the output's.
        columns: Pixels in a row; the last tile of a row may have fewer.
        blocks: Blocks of output channels; they divide the output's.
    """

    rows: int
    columns: int
    blocks: int


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be tiled.

    Attributes:
        rows: Rows of the output.
        columns: Columns of the output.
        blocks: Blocks of output channels that read the same inputs.
        steps: Terms of each output's sum.
        depthwise: Whether every output channel reads one input channel, its own.
    """

    rows: int
    columns: int
    blocks: int
    steps: int
    depthwise: bool


def choose(machine: Machine, work: Work) -> Tile:
    """Return the tile that takes the fewest cycles by the model, unless another was measured."""
    order = sorted(_candidates(machine, work), key=lambda tile: (cycles(work, tile), tile.rows))
    least = cycles(work, order[0])
    worth = [one for one in order[:_MOST_TRIED] if cycles(work, one) <= _WORTH_TRYING * least]
    return Tile(*decided("tile", [dataclasses.astuple(one) for one in worth]))


def _candidates(machine: Machine, work: Work) -> list[Tile]:
    found = [
        Tile(rows, columns, blocks)
        for blocks in _divisors(1 if work.depthwise else work.blocks, _MOST_BLOCKS)
        for rows in _divisors(work.rows, _MOST_ROWS)
        for columns in range(1, min(work.columns, _MOST_COLUMNS) + 1)
        if rows * columns * blocks + blocks + 1 <= machine.registers
    ]
    return found or [Tile(1, 1, 1)]


def _divisors(number: int, most: int) -> list[int]:
    return [one for one in range(1, min(number, most) + 1) if number % one == 0]


def cycles(work: Work, tile: Tile) -> float:
    """Return the cycles that the model expects."""
    whole, rest = divmod(work.columns, tile.columns)
    row = whole * _tile_cycles(work, tile.rows * tile.columns, tile.blocks)
    if rest:
        row += _tile_cycles(work, tile.rows * rest, tile.blocks)
    blocks = work.blocks / tile.blocks
    return row * blocks * work.rows / tile.rows


def _tile_cycles(work: Work, pixels: int, blocks: int) -> float:
    products = pixels * blocks
    loads = pixels + blocks
    step = max(products / _UNITS, loads / _LOADS, _RESULT_AFTER) + _STEP
    return work.steps * step + products + _TILE
