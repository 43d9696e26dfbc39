"""How Relax operators that have no kernel here are written, where TVM's own way is slow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tvm
from tvm import te

from bmopt.backends.tvm.lowering import functions
from bmopt.backends.tvm.lowering.reading import Call
from bmopt.backends.tvm.lowering.stmts import Expr, Native, real

Legalize = Callable[[Native, Call], Native]
_ATTRIBUTE = "FLegalize"
_FLOAT = "float32"


def _gelu(x: Expr) -> Expr:
    half = x * real(0.5)
    return half + half * functions.erf(x * real(0.7071067811865476))


def _gelu_tanh(x: Expr) -> Expr:
    inner = x * (real(0.7978845608028654) + real(0.035677408136300125) * x * x)
    half = x * real(0.5)
    return half + half * functions.tanh(inner)


_FUNCTIONS: Mapping[str, Callable[[Expr], Expr]] = {
    "relax.erf": functions.erf,
    "relax.exp": functions.exp,
    "relax.nn.gelu": _gelu,
    "relax.nn.gelu_tanh": _gelu_tanh,
    "relax.nn.silu": lambda x: x * functions.sigmoid(x),
    "relax.sigmoid": functions.sigmoid,
    "relax.tanh": functions.tanh,
}
"""Name of a Relax operator -> what it computes of each element."""


def legalize_map() -> dict[str, Legalize]:
    """Return what ``relax.transform.LegalizeOps`` takes: operator -> how it is written."""
    return {name: _elementwise(name, function) for name, function in _FUNCTIONS.items()}


def _elementwise(name: str, function: Callable[[Expr], Expr]) -> Legalize:
    own: Legalize = tvm.ir.Op.get(name).get_attr(_ATTRIBUTE)
    short = name.rpartition(".")[2]

    def compute(x: Native) -> Native:
        return te.compute(x.shape, lambda *place: function(x(*place)), name=short)

    def legalize(builder: Native, call: Call) -> Native:
        if str(call.ty.dtype) != _FLOAT:
            return own(builder, call)
        return builder.call_te(compute, call.args[0], primfunc_name_hint=short)

    return legalize
