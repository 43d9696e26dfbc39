"""From one layout to another, with elementwise steps on the way."""

from __future__ import annotations

from tvm import tirx

from bmopt.backends.tvm.lowering.blocked import Layout
from bmopt.backends.tvm.lowering.borders import with_borders
from bmopt.backends.tvm.lowering.machine import Machine
from bmopt.backends.tvm.lowering.steps import Epilogue, Place
from bmopt.backends.tvm.lowering.stmts import (
    Expr,
    PrimFunc,
    Stmt,
    function,
    grid,
    load,
    loop,
    real,
    store,
    whole,
)


def map_kernel(source: Layout, output: Layout, epilogue: Epilogue, machine: Machine) -> PrimFunc:
    """Return a function of a tensor, the epilogue's and the output, in blocks of one size."""
    read, written = source.declare("source"), output.declare("output")

    def row(n: Expr, block: Expr, y: Expr) -> Stmt:
        def pixel(x: Expr) -> Stmt:
            value = load(read, *source.vector(n, block, y, x))
            value = epilogue.applied(value, Place(n, block, y, x))
            return store(written, value, *output.vector(n, block, y, x))

        body = loop("x", output.width, pixel)
        return with_borders(output, written, (n, block, y), 1, body)

    parts = (output.blocks, output.height)
    parallel = machine.shares((2.0 + len(epilogue.steps)) * output.vectors)
    body = grid(output.batch, parts, row, parallel=parallel)
    return function([read, *epilogue.buffers, written], body, "map")


def enter_kernel(source: Layout, output: Layout, machine: Machine) -> PrimFunc:
    """Return a function that puts channels side by side that were apart."""
    read, written = source.declare("source"), output.declare("output")

    def row(n: Expr, block: Expr, y: Expr) -> Stmt:
        def element(x: Expr, lane: Expr) -> Stmt:
            channel = block * output.block + lane
            value = source.scalar(read, [n, channel, y, x], whole(0))
            if output.channels % output.block:
                inside = tirx.LT(channel, whole(output.channels))
                value = tirx.if_then_else(inside, value, real(0.0))
            place = [n, block, y + output.halo.top, x + output.halo.left, lane]
            return store(written, value, *place)

        body = loop("x", output.width, lambda x: loop(
            "lane", output.block, lambda lane: element(x, lane)
        ))  # fmt: skip
        return with_borders(output, written, (n, block, y), 1, body)

    parts = (output.blocks, output.height)
    parallel = machine.shares(2.0 * output.vectors * output.block)
    return function([read, written], grid(output.batch, parts, row, parallel=parallel), "enter")


def leave_kernel(source: Layout, output: Layout, machine: Machine) -> PrimFunc:
    """Return a function that puts channels apart again."""
    read, written = source.declare("source"), output.declare("output")

    def row(n: Expr, channel: Expr, y: Expr) -> Stmt:
        block = tirx.floordiv(channel, whole(source.block))
        lane = tirx.floormod(channel, whole(source.block))
        return loop("x", output.width, lambda x: store(
            written, source.scalar(read, [n, block, y, x], lane), n, channel, y, x
        ))  # fmt: skip

    parts = (output.channels, output.height)
    parallel = machine.shares(2.0 * output.vectors)
    return function([read, written], grid(output.batch, parts, row, parallel=parallel), "leave")
