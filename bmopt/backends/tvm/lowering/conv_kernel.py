"""Convolution in blocks: dense, grouped and depthwise, with what follows it.

A tile of outputs (see tiles.py) stays in registers over the whole sum. Dense: the loops of the
sum run over blocks of input channels, the window, and the channels of a block; each turn reads
one vector of weights for each block of outputs and one scalar for each pixel. Depthwise: over the
window only, with a vector of inputs for each pixel. A fully connected layer is a convolution of
one pixel.
"""

from __future__ import annotations

import dataclasses

from tvm import tirx

from bmopt.backends.tvm.lowering.blocked import Layout
from bmopt.backends.tvm.lowering.borders import with_borders
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
    seq,
    spread,
    store,
    tensor,
    whole,
)
from bmopt.backends.tvm.lowering.tiles import Tile, Work, choose, cycles
from bmopt.backends.tvm.tuning.decisions import decided, tunable

_MOST_UNROLLED = 256
_UNROLLED = (1, 2, 4)

# A block, row and column of a tile.
_Spot = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Window:
    """The window of a convolution or pool.

    Attributes:
        size: Rows and columns.
        strides: Of its steps.
        dilation: Distance of its taps.
        before: Rows and columns of padding above and to the left.
    """

    size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution.

    Attributes:
        source: How its input is stored; with a halo for its padding.
        output: How its output is stored.
        window: Its window.
        groups: Its groups; as many as channels: depthwise.
    """

    source: Layout
    output: Layout
    window: Window
    groups: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether every channel has a window of its own."""
        return self.groups > 1 and self.groups == self.source.channels == self.output.channels

    @property
    def blocks_in(self) -> int:
        """Return the blocks of input channels that an output sums over."""
        return 1 if self.depthwise else self.source.blocks // self.groups

    @property
    def blocks_out(self) -> int:
        """Return the blocks of output channels that read the same inputs."""
        return self.output.blocks // (1 if self.depthwise else self.groups)

    @property
    def work(self) -> Work:
        """Return what is to be tiled."""
        height, width = self.window.size
        taps = height * width
        steps = taps if self.depthwise else taps * self.blocks_in * self.source.block
        return Work(self.output.height, self.output.width, self.blocks_out, steps, self.depthwise)


def conv_kernel(conv: Conv, epilogue: Epilogue, machine: Machine) -> PrimFunc:
    """Return a function of input, weights, bias, the epilogue's tensors and output."""
    return tunable(
        f"{conv} {epilogue}",
        lambda: _Kernel(conv, epilogue, choose(machine, conv.work)).function(machine),
    )


def _repeats(lanes: int) -> list[int]:
    """Return how many input channels a turn of the innermost loop may take."""
    return [one for one in _UNROLLED if lanes % one == 0]


class _Kernel:
    def __init__(self, conv: Conv, epilogue: Epilogue, tile: Tile) -> None:
        self.conv, self.epilogue, self.tile = conv, epilogue, tile
        self.block = conv.output.block
        self.source = conv.source.declare("source")
        self.weight = tensor("weight", self._weight_shape())
        self.bias = tensor("bias", [conv.output.blocks, self.block])
        self.output = conv.output.declare("output")
        self.repeats = 1 if conv.depthwise else decided("unroll", _repeats(conv.source.block))
        full, rest = divmod(conv.output.width, tile.columns)
        self.overlaps = bool(full and rest and decided("overlap", (0, 1)))

    def _weight_shape(self) -> list[Native]:
        conv, taps = self.conv, list(self.conv.window.size)
        if conv.depthwise:
            return [conv.output.blocks, *taps, self.block]
        blocks = [conv.output.blocks, conv.blocks_in]
        return [*blocks, *taps, conv.source.block, self.block]

    def function(self, machine: Machine) -> PrimFunc:
        conv, tile = self.conv, self.tile
        parts = (conv.output.blocks // tile.blocks, conv.output.height // tile.rows)
        groups = conv.output.blocks // conv.blocks_out
        shares = machine.shares(cycles(conv.work, tile) * groups)
        parallel = bool(decided("shared", (int(shares), int(not shares))[: machine.threads]))
        body = self._turns(parts, parallel=parallel)
        buffers = [self.source, self.weight, self.bias, *self.epilogue.buffers, self.output]
        kind = "depthwise" if conv.depthwise else "conv"
        return function(buffers, body, kind, f"{kind}-nchw{self.block}c")

    def _turns(self, parts: tuple[int, int], *, parallel: bool) -> Stmt:
        """Return the loops over the tiles' blocks and rows, in either order."""
        batch = self.conv.output.batch
        if 1 in parts or not decided("rows-outside", (0, 1)):
            return grid(batch, parts, self._rows, parallel=parallel)
        swapped = (parts[1], parts[0])
        return grid(
            batch, swapped, lambda n, turn, part: self._rows(n, part, turn), parallel=parallel
        )

    def _rows(self, n: Expr, part: Expr, turn: Expr) -> Stmt:
        tile, width = self.tile, self.conv.output.width
        block, row = part * tile.blocks, turn * tile.rows
        full, rest = divmod(width, tile.columns)
        sums = {spot: local("sum", self.block) for spot in self._spots(min(tile.columns, width))}
        stmts = [tirx.AllocBuffer(one) for one in sums.values()]
        if full:
            stmts.append(loop("x", full, lambda x: self._tile(
                Place(n, block, row, x * tile.columns), sums
            )))  # fmt: skip
        if rest and self.overlaps:
            # A whole tile at the row's end, some of it computed twice.
            stmts.append(self._tile(Place(n, block, row, whole(width - tile.columns)), sums))
        elif rest:
            tail = {spot: sums[spot] for spot in self._spots(rest)}
            stmts.append(self._tile(Place(n, block, row, whole(full * tile.columns)), tail))
        body = seq(*stmts)
        for b in range(tile.blocks):
            place = (n, block + b, row)
            body = with_borders(self.conv.output, self.output, place, tile.rows, body)
        return body

    def _spots(self, columns: int) -> list[_Spot]:
        return [
            (b, y, x)
            for b in range(self.tile.blocks)
            for y in range(self.tile.rows)
            for x in range(columns)
        ]

    def _tile(self, at: Place, sums: dict[_Spot, Buffer]) -> Stmt:
        lanes = lanes_at(whole(0), self.block)
        stmts = [
            store(one, load(self.bias, at.block + b, lanes), lanes)
            for (b, _, _), one in sums.items()
        ]
        stmts.append(self._sum(at, sums))
        stmts += [self._stored(at, spot, load(one, lanes)) for spot, one in sums.items()]
        return seq(*stmts)

    def _stored(self, at: Place, spot: _Spot, value: Expr) -> Stmt:
        b, y, x = spot
        place = Place(at.n, at.block + b, at.row + y, at.column + x)
        target = self.conv.output.vector(place.n, place.block, place.row, place.column)
        return store(self.output, self.epilogue.applied(value, place), *target)

    def _sum(self, at: Place, sums: dict[_Spot, Buffer]) -> Stmt:
        height, width = self.conv.window.size

        if self.conv.depthwise:
            turns = [self._depthwise(at, sums, y, x) for y in range(height) for x in range(width)]
            return seq(*turns)

        def term(ci: Expr, ky: Expr, kx: Expr) -> Stmt:
            lanes = self.conv.source.block
            together = self.repeats
            return loop("cl", lanes // together, lambda cl: seq(*(
                self._dense(at, sums, (ci, ky, kx, cl * together + one))
                for one in range(together)
            )))  # fmt: skip

        def taps(ci: Expr, ky: Expr) -> Stmt:
            if self.conv.source.block == 1 and width * len(sums) <= _MOST_UNROLLED:
                return seq(*(term(ci, ky, whole(kx)) for kx in range(width)))
            return loop("kx", width, lambda kx: term(ci, ky, kx))

        return loop(
            "ci", self.conv.blocks_in, lambda ci: loop("ky", height, lambda ky: taps(ci, ky))
        )

    def _position(self, at: Place, y: int, x: int, ky: Native, kx: Native) -> tuple[Expr, Expr]:
        window = self.conv.window
        row = (at.row + y) * window.strides[0] + ky * window.dilation[0] - window.before[0]
        column = (at.column + x) * window.strides[1] + kx * window.dilation[1] - window.before[1]
        return row, column

    def _dense(
        self,
        at: Place,
        sums: dict[_Spot, Buffer],
        term: tuple[Expr, Expr, Expr, Expr],
    ) -> Stmt:
        ci, ky, kx, cl = term
        lanes = lanes_at(whole(0), self.block)
        group = tirx.floordiv(at.block, whole(self.conv.blocks_out))
        first = group * self.conv.blocks_in if self.conv.groups > 1 else whole(0)
        dtype = "float32" if self.block == 1 else f"float32x{self.block}"
        weights = [tirx.Var("w", dtype) for _ in range(self.tile.blocks)]
        stmts = [
            tirx.Bind(w, load(self.weight, at.block + b, ci, ky, kx, cl, lanes))
            for b, w in enumerate(weights)
        ]
        for y, x in dict.fromkeys((y, x) for _, y, x in sums):
            row, column = self._position(at, y, x, ky, kx)
            scalar = self.conv.source.scalar(self.source, [at.n, first + ci, row, column], cl)
            pixel = tirx.Var("pixel", dtype)
            stmts.append(tirx.Bind(pixel, spread(scalar, self.block)))
            for b, w in enumerate(weights):
                one = sums[b, y, x]
                stmts.append(store(one, load(one, lanes) + pixel * w, lanes))
        return seq(*stmts)

    def _depthwise(self, at: Place, sums: dict[_Spot, Buffer], ky: int, kx: int) -> Stmt:
        lanes = lanes_at(whole(0), self.block)
        dtype = "float32" if self.block == 1 else f"float32x{self.block}"
        w = tirx.Var("w", dtype)
        stmts = [tirx.Bind(w, load(self.weight, at.block, whole(ky), whole(kx), lanes))]
        for (_, y, x), one in sums.items():
            row, column = self._position(at, y, x, ky, kx)
            pixel = load(self.source, *self.conv.source.vector(at.n, at.block, row, column))
            stmts.append(store(one, load(one, lanes) + pixel * w, lanes))
        return seq(*stmts)
