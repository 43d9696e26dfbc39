"""A few words to write loops of TVM with: they keep the kernels beside them readable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.s_tir import SBlock, SBlockRealize

# TVM has no annotations of its own that a type checker could follow.
Native = Any
Expr = Any
Stmt = Any
Buffer = Any
PrimFunc = Any

INDEX = "int64"
KERNEL_ATTRIBUTE = "bmopt.kernel"
SCHEDULE_ATTRIBUTE = "bmopt.schedule"
_OPAQUE = 8


def whole(value: int) -> Expr:
    """Return an index constant."""
    return tirx.IntImm(INDEX, value)


def real(value: float) -> Expr:
    """Return a float constant."""
    return tirx.FloatImm("float32", value)


def tensor(name: str, shape: Sequence[Native]) -> Buffer:
    """Declare a float tensor."""
    return tirx.decl_buffer(
        [whole(size) if isinstance(size, int) else size for size in shape], "float32", name
    )


def local(name: str, lanes: int) -> Buffer:
    """Declare a vector that is to live in a register.

    Its scope must not be "local": TVM takes memory for that from its pool of workspaces, and the
    code generator cannot put it into registers.
    """
    return tirx.decl_buffer([whole(lanes)], "float32", name)


def lanes_at(start: Expr, lanes: int) -> Expr:
    """Return the index of ``lanes`` elements in a row."""
    return start if lanes == 1 else tirx.Ramp(start, whole(1), lanes)


def spread(value: Expr, lanes: int) -> Expr:
    """Return a scalar in all lanes."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


def load(buffer: Buffer, *indices: Expr) -> Expr:
    """Read a tensor."""
    return tirx.BufferLoad(buffer, list(indices))


def store(buffer: Buffer, value: Expr, *indices: Expr) -> Stmt:
    """Write a tensor."""
    return tirx.BufferStore(buffer, value, list(indices))


def seq(*stmts: Stmt) -> Stmt:
    """Return one statement after the other."""
    return stmts[0] if len(stmts) == 1 else tirx.SeqStmt(list(stmts))


def loop(
    name: str, extent: Expr | int, body: Callable[[Expr], Stmt], *, parallel: bool = False
) -> Stmt:
    """Return a loop; one of a single turn is only its body."""
    if isinstance(extent, int):
        if extent == 1:
            return body(whole(0))
        extent = whole(extent)
    kind = tirx.ForKind.PARALLEL if parallel else tirx.ForKind.SERIAL
    variable = tirx.Var(name, INDEX)
    return tirx.For(variable, whole(0), extent, kind, body(variable))


def grid(
    batch: Expr | int,
    extents: tuple[int, int],
    body: Callable[[Expr, Expr, Expr], Stmt],
    *,
    parallel: bool,
) -> Stmt:
    """Return loops over the batch and two axes, as one parallel loop if asked."""
    outer, inner = extents
    if not parallel:
        return loop(
            "n",
            batch,
            lambda n: loop("o", outer, lambda o: loop("i", inner, lambda i: body(n, o, i))),
        )

    def apart(turn: Expr) -> Stmt:
        many, one = whole(outer * inner), whole(inner)
        rest = tirx.floormod(turn, many)
        return body(tirx.floordiv(turn, many), tirx.floordiv(rest, one), tirx.floormod(rest, one))

    total = batch * outer * inner
    return loop("turn", total, apart, parallel=True)


def function(buffers: Sequence[Buffer], body: Stmt, kind: str, schedule: str = "") -> PrimFunc:
    """Return the function of a kernel, which TVM's own passes are to leave alone.

    Args:
        buffers: Its parameters.
        body: What it does.
        kind: What it is, in a word.
        schedule: How it does it, in a word; ``kind`` if left out.
    """
    root = SBlock([], [], [], "root", body)
    made = tirx.PrimFunc(list(buffers), SBlockRealize([], True, root))
    return made.with_attrs(
        {
            "tirx.noalias": True,
            "op_pattern": _OPAQUE,
            KERNEL_ATTRIBUTE: kind,
            SCHEDULE_ATTRIBUTE: schedule or kind,
            "s_tir": True,
        }
    )
