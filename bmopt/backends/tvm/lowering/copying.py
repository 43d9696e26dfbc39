"""Copies expressions of a straight Relax function into another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import tvm
from tvm import relax

from bmopt.backends.tvm.lowering.reading import NotStraightError, is_constant, is_var
from bmopt.backends.tvm.lowering.stmts import Native

_LEAVES = (relax.ShapeExpr, relax.ExternFunc, tvm.ir.StringImm)
_CALLED = (tvm.ir.Op, relax.ExternFunc, tvm.ir.GlobalVar)


def used_vars(expr: Native) -> Iterator[Native]:
    """Yield the variables that an expression reads, each time it reads one."""
    if isinstance(expr, tvm.ir.GlobalVar):
        return
    if is_var(expr):
        yield expr
    elif isinstance(expr, tvm.ir.Call):
        for one in expr.args:
            yield from used_vars(one)
    elif isinstance(expr, relax.Tuple):
        for one in expr.fields:
            yield from used_vars(one)
    elif isinstance(expr, relax.TupleGetItem):
        yield from used_vars(expr.tuple_value)


def replaced(
    expr: Native, variable: Callable[[Native], Native], functions: dict[str, Native]
) -> Native:
    """Return an expression with other variables and functions.

    Args:
        expr: A call, tuple, variable or constant.
        variable: Returns the new variable for an old one.
        functions: The new functions by their old names.

    Raises:
        NotStraightError: It holds control flow.
    """
    if isinstance(expr, tvm.ir.GlobalVar):
        return functions.get(expr.name_hint, expr)
    if is_var(expr):
        return variable(expr)
    if isinstance(expr, tvm.ir.Call):
        if not isinstance(expr.op, _CALLED):
            raise NotStraightError(f"a call of {type(expr.op).__name__}")
        args = [replaced(one, variable, functions) for one in expr.args]
        called = functions.get(getattr(expr.op, "name_hint", ""), expr.op)
        return tvm.ir.Call(called, args, expr.attrs, expr.ty_args)
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([replaced(one, variable, functions) for one in expr.fields])
    if isinstance(expr, relax.TupleGetItem):
        return relax.TupleGetItem(replaced(expr.tuple_value, variable, functions), expr.index)
    if is_constant(expr) or isinstance(expr, _LEAVES) or tvm.ir.is_prim_expr(expr):
        return expr
    raise NotStraightError(type(expr).__name__)
