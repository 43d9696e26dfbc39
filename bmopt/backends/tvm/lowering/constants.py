"""Computes what follows from constants alone in NumPy.

TVM's own pass compiles a library for every such operation, which takes seconds a model.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from bmopt.backends.tvm.lowering.reading import is_constant, is_var, numbers, op_name, shape_of
from bmopt.backends.tvm.lowering.stmts import Native

_Array = NDArray[np.generic]

_COMPUTED: dict[str, Callable[..., Native]] = {
    "isnan": np.isnan,
    "where": np.where,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "less": np.less,
    "sqrt": np.sqrt,
    "negative": np.negative,
}


def with_constants(mod: Native, name: str) -> Native:
    """Return the module with fewer operations in one of its functions."""
    changed = tvm.IRModule(dict(mod.functions.items()), attrs=mod.attrs)
    folder = _Folder(mod)
    changed.update_func(mod.get_global_var(name), folder.visit_expr(mod[name]))
    return changed


@relax.expr_functor.mutator
class _Folder(relax.PyExprMutator):  # type: ignore[misc]
    def visit_call_(self, call: Native) -> Native:
        call = self.visit_expr_post_order(call)
        operands = [self._array(one) for one in call.args]
        computed = _computed(call, operands)
        if computed is None:
            return call
        # A contiguous scalar would be a vector of one.
        whole = np.ascontiguousarray(computed).reshape(computed.shape)
        return relax.const(whole, str(computed.dtype))

    def _array(self, expr: Native) -> _Array | None:
        if is_var(expr):
            expr = self.lookup_binding(expr)
        if not is_constant(expr) or not hasattr(expr.value, "numpy"):
            return None
        values: _Array = expr.value.numpy()
        return values


def _computed(call: Native, operands: list[_Array | None]) -> _Array | None:
    name = op_name(call)
    if not operands or operands[0] is None:
        return None
    if name == "reshape":
        sizes = shape_of(call)
        known = sizes is not None and all(isinstance(size, int) for size in sizes)
        return operands[0].reshape(sizes) if sizes is not None and known else None
    if name == "permute_dims":
        axes = None if call.attrs.axes is None else numbers(call.attrs.axes)
        return operands[0].transpose(axes)
    if name not in _COMPUTED or any(one is None for one in operands):
        return None
    result: _Array = np.asarray(_COMPUTED[name](*operands))
    return result
