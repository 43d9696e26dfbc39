"""Matrix products in rows, as ONNX has them: of two activations, or of sequences and weights.

A tile of some rows and vectors of columns stays in registers over the whole sum; each turn reads a
vector of the right matrix for each vector of columns, and one number of the left for each row.
What is left of the columns becomes narrower vectors, down to one number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tvm import tirx

from bmopt.backends.tvm.lowering.machine import Machine
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
    tensor,
    whole,
)
from bmopt.backends.tvm.tuning.decisions import decided, tunable

_MANY_REGISTERS = 24
_FMAS = 2.0


@dataclasses.dataclass(frozen=True)
class Product:
    """A product ``batch x rows x depth`` times ``batch x depth x columns``.

    Attributes:
        batch: Matrices, a number or a symbol.
        rows: Rows of the left.
        depth: Columns of the left, and rows of the right.
        columns: Columns of the right.
        shared: Whether there is one right matrix for all.
    """

    batch: Native
    rows: int
    depth: int
    columns: int
    shared: bool


@dataclasses.dataclass(frozen=True)
class _Panel:
    """Columns that are computed together: ``count`` times ``vectors`` of ``lanes``."""

    start: int
    count: int
    vectors: int
    lanes: int


def product_kernel(product: Product, machine: Machine) -> PrimFunc:
    """Return a function of the left, the right and the output."""
    return tunable(str(product), lambda: _Kernel(product, machine).function())


class _Kernel:
    def __init__(self, product: Product, machine: Machine) -> None:
        self.product, self.machine = product, machine
        right = [product.depth, product.columns]
        self.left = tensor("left", [product.batch, product.rows, product.depth])
        self.right = tensor("right", right if product.shared else [product.batch, *right])
        self.output = tensor("output", [product.batch, product.rows, product.columns])
        self.rows, self.vectors = decided("tile", _tiles(product.rows, machine.registers))

    def function(self) -> PrimFunc:
        product, machine = self.product, self.machine
        cycles = product.rows * product.depth * product.columns / machine.lanes / _FMAS
        shares = machine.shares(cycles)
        parallel = bool(decided("shared", (int(shares), int(not shares))[: machine.threads]))
        full, rest = divmod(product.rows, self.rows)
        stmts: list[Stmt] = []
        for panel in _panels(product.columns, self.vectors, machine.lanes):
            if full:
                tile = self._tile(panel, self.rows, lambda turn: turn * self.rows)
                stmts.append(grid(product.batch, (panel.count, full), tile, parallel=parallel))
            if rest:
                tile = self._tile(panel, rest, lambda turn: whole(full * self.rows))
                stmts.append(grid(product.batch, (panel.count, 1), tile, parallel=parallel))
        buffers = [self.left, self.right, self.output]
        return function(buffers, seq(*stmts), "product", f"product-{machine.lanes}")

    def _tile(
        self, panel: _Panel, rows: int, first: Callable[[Expr], Expr]
    ) -> Callable[[Expr, Expr, Expr], Stmt]:
        def tile(n: Expr, turn: Expr, rows_turn: Expr) -> Stmt:
            start = panel.start + turn * (panel.vectors * panel.lanes)
            return self._computed(panel, rows, (n, first(rows_turn), start))

        return tile

    def _computed(self, panel: _Panel, rows: int, at: tuple[Expr, Expr, Expr]) -> Stmt:
        n, row, start = at
        lanes = lanes_at(whole(0), panel.lanes)
        zero = spread(real(0.0), panel.lanes)
        spots = [(r, v) for r in range(rows) for v in range(panel.vectors)]
        sums = {spot: local("sum", panel.lanes) for spot in spots}
        stmts = [tirx.AllocBuffer(one) for one in sums.values()]
        stmts += [store(one, zero, lanes) for one in sums.values()]
        stmts.append(
            loop("k", self.product.depth, lambda k: self._term(panel, sums, (n, row, start, k)))
        )
        for (r, v), one in sums.items():
            place = lanes_at(start + v * panel.lanes, panel.lanes)
            stmts.append(store(self.output, load(one, lanes), n, row + r, place))
        return seq(*stmts)

    def _term(
        self,
        panel: _Panel,
        sums: dict[tuple[int, int], Buffer],
        at: tuple[Expr, Expr, Expr, Expr],
    ) -> Stmt:
        n, row, start, k = at
        lanes = lanes_at(whole(0), panel.lanes)
        dtype = "float32" if panel.lanes == 1 else f"float32x{panel.lanes}"
        weights = [tirx.Var("w", dtype) for _ in range(panel.vectors)]
        stmts = []
        for v, w in enumerate(weights):
            place = lanes_at(start + v * panel.lanes, panel.lanes)
            indices = [k, place] if self.product.shared else [n, k, place]
            stmts.append(tirx.Bind(w, load(self.right, *indices)))
        for r in sorted({r for r, _ in sums}):
            one = tirx.Var("a", dtype)
            stmts.append(tirx.Bind(one, spread(load(self.left, n, row + r, k), panel.lanes)))
            for v, w in enumerate(weights):
                total = sums[r, v]
                stmts.append(store(total, load(total, lanes) + one * w, lanes))
        return seq(*stmts)


def _tiles(rows: int, registers: int) -> list[tuple[int, int]]:
    """Return rows and vectors of tiles that fit the registers, the usual one first."""
    usual = 4 if registers >= _MANY_REGISTERS else 2
    found = []
    for vectors in dict.fromkeys((usual, 2, 4, 3, 1, 6)):
        most = min((registers - vectors - 1) // vectors, rows)
        evenly = -(-rows // -(-rows // max(most, 1)))
        found += [(most, vectors), (evenly, vectors)]
    return [one for one in dict.fromkeys(found) if one[0] > 0]


def _panels(columns: int, vectors: int, lanes: int) -> list[_Panel]:
    """Return the columns in panels, the widest first."""
    found, start = [], 0
    wide = vectors * lanes
    if count := columns // wide:
        found.append(_Panel(0, count, vectors, lanes))
        start = count * wide
    while start < columns:
        left = columns - start
        fitting = min(lanes, 1 << (left.bit_length() - 1))
        many = min(vectors, left // fitting)
        found.append(_Panel(start, 1, many, fitting))
        start += many * fitting
    return found
