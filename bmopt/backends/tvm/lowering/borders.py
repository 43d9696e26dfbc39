"""The zeros around a tensor, written by whoever writes the tensor."""

from __future__ import annotations

from tvm import tirx

from bmopt.backends.tvm.lowering.blocked import Layout
from bmopt.backends.tvm.lowering.stmts import (
    Buffer,
    Expr,
    Stmt,
    loop,
    real,
    seq,
    spread,
    store,
    whole,
)


def with_borders(
    layout: Layout, buffer: Buffer, place: tuple[Expr, Expr, Expr], rows: int, body: Stmt
) -> Stmt:
    """Return ``body``, which writes rows of a block, with the halo beside, above and below it.

    Args:
        layout: How the tensor is stored.
        buffer: The tensor.
        place: Batch, block and the first of the rows.
        rows: How many ``body`` writes; they divide the tensor's.
        body: What writes them.
    """
    halo, (n, block, first) = layout.halo, place
    width = layout.width + halo.left + halo.right

    def zeros(start: Expr | int, count: int, column: int, columns: int) -> Stmt:
        zero = spread(real(0.0), layout.block)
        return loop("y", count, lambda y: loop("x", columns, lambda x: store(
            buffer, zero, *layout.vector(n, block, start + y, column + x)
        )))  # fmt: skip

    stmts = [body]
    if halo.left:
        stmts.append(zeros(first, rows, -halo.left, halo.left))
    if halo.right:
        stmts.append(zeros(first, rows, layout.width, halo.right))
    if halo.top:
        above = zeros(whole(-halo.top), halo.top, -halo.left, width)
        stmts.append(tirx.IfThenElse(tirx.EQ(first, whole(0)), above, None))
    if halo.bottom:
        below = zeros(whole(layout.height), halo.bottom, -halo.left, width)
        last = whole(layout.height - rows)
        stmts.append(tirx.IfThenElse(tirx.EQ(first, last), below, None))
    return seq(*stmts)
