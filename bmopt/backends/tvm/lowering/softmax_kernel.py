"""Softmax along the last axis, in vectors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from tvm import tirx

from bmopt.backends.tvm.lowering import functions
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

_CYCLES = 30.0
"""Of one vector: its exponential, mostly."""


@dataclasses.dataclass(frozen=True)
class Softmax:
    """Rows of numbers.

    Attributes:
        batch: A number or a symbol.
        rows: Rows in each of it.
        columns: Numbers in a row.
    """

    batch: Native
    rows: int
    columns: int


def softmax_kernel(softmax: Softmax, machine: Machine) -> PrimFunc:
    """Return a function of the input and the output."""
    lanes = min(machine.lanes, 1 << (softmax.columns.bit_length() - 1))
    sizes = [softmax.batch, softmax.rows, softmax.columns]
    source, output = tensor("source", sizes), tensor("output", sizes)

    def row(n: Expr, turn: Expr, _: Expr) -> Stmt:
        return _Row(softmax.columns, lanes, source, output, (n, turn)).stmt()

    cycles = _CYCLES * softmax.rows * softmax.columns / lanes
    body = grid(softmax.batch, (softmax.rows, 1), row, parallel=machine.shares(cycles))
    return function([source, output], body, "softmax", f"softmax-{machine.lanes}")


class _Row:
    """One row: its largest number, the exponentials and their sum, and their shares of it."""

    def __init__(
        self, columns: int, lanes: int, source: Buffer, output: Buffer, at: tuple[Expr, Expr]
    ) -> None:
        self.columns, self.lanes = columns, lanes
        self.source, self.output, self.at = source, output, at
        self.wide, self.one = local("wide", lanes), local("one", 1)

    def stmt(self) -> Stmt:
        """Return the statement."""
        first = whole(0)
        largest, share = tirx.Var("largest", "float32"), tirx.Var("share", "float32")
        apart: Callable[[Expr, int], Expr] = lambda x, lanes: functions.exp(  # noqa: E731
            x - spread(largest, lanes), lanes
        )
        return seq(
            tirx.AllocBuffer(self.wide),
            tirx.AllocBuffer(self.one),
            *self._reduced(-math.inf, tirx.max, lambda x, lanes: x, None),
            tirx.Bind(largest, load(self.one, first)),
            *self._reduced(0.0, lambda a, b: a + b, apart, self.output),
            tirx.Bind(share, tirx.div(real(1.0), load(self.one, first))),
            *self._scaled(share),
        )

    def _reduced(
        self,
        start: float,
        join: Callable[[Expr, Expr], Expr],
        of: Callable[[Expr, int], Expr],
        kept: Buffer | None,
    ) -> list[Stmt]:
        """Join ``of`` all numbers into ``one``, and keep them in a tensor if asked."""
        first, lanes = whole(0), lanes_at(whole(0), self.lanes)

        def taken(place: Expr, width: int, into: Buffer, index: Expr) -> Stmt:
            where = lanes_at(place, width)
            value = tirx.Var("value", "float32" if width == 1 else f"float32x{width}")
            bind = tirx.Bind(value, of(load(self.source, *self.at, where), width))
            joined = store(into, join(load(into, index), value), index)
            if kept is None:
                return seq(bind, joined)
            return seq(bind, store(kept, value, *self.at, where), joined)

        many, rest = divmod(self.columns, self.lanes)
        stmts = [
            store(self.wide, spread(real(start), self.lanes), lanes),
            store(self.one, real(start), first),
            loop("v", many, lambda v: taken(v * self.lanes, self.lanes, self.wide, lanes)),
            loop("l", self.lanes, lambda lane: store(
                self.one, join(load(self.one, first), load(self.wide, lane)), first
            )),
        ]  # fmt: skip
        if rest:
            begin = many * self.lanes
            stmts.append(loop("t", rest, lambda t: taken(t + begin, 1, self.one, first)))
        return stmts

    def _scaled(self, share: Expr) -> list[Stmt]:
        many, rest = divmod(self.columns, self.lanes)

        def scaled(place: Expr, width: int) -> Stmt:
            where = lanes_at(place, width)
            value = load(self.output, *self.at, where) * spread(share, width)
            return store(self.output, value, *self.at, where)

        stmts = [loop("v", many, lambda v: scaled(v * self.lanes, self.lanes))]
        if rest:
            begin = many * self.lanes
            stmts.append(loop("t", rest, lambda t: scaled(t + begin, 1)))
        return stmts
