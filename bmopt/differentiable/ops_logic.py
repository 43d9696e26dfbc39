"""Comparisons, choices and counts in torch; truth is 1.0, as whole numbers are floats."""

from __future__ import annotations

import functools
from collections.abc import Callable

import onnx_ir as ir

from bmopt.differentiable.call import Call, Op, with_constants
from bmopt.differentiable.torch_access import Tensor


def _compared(name: str) -> Op:
    """Return the comparison that torch has a function of that name for."""
    return Op(lambda call: getattr(call.torch, name)(*call.inputs).float())


def _logical(name: str) -> Op:
    def run(call: Call) -> Tensor:
        truths = [one != 0 for one in call.inputs if one is not None]
        return getattr(call.torch, name)(*truths).float()

    return Op(run)


def _of_all(name: str) -> Op:
    """Return what torch has a function of two tensors for, of any number of them."""
    return Op(lambda call: functools.reduce(getattr(call.torch, name), call.inputs))


def _where(call: Call) -> Tensor:
    chosen, yes, no = call.inputs
    assert chosen is not None
    return call.torch.where(chosen != 0, yes, no)


def _cast(call: Call) -> Tensor:
    x = call.inputs[0]
    assert x is not None
    kind = ir.DataType(call.integer("to", int(ir.DataType.FLOAT)))
    if kind == ir.DataType.BOOL:
        return (x != 0).float()
    return x if kind.is_floating_point() else x.trunc()


def _range(call: Call) -> Tensor:
    start, limit, step = call.inputs
    assert start is not None
    assert limit is not None
    assert step is not None
    return call.torch.arange(float(start), float(limit), float(step), device=start.device)


def _trilu(call: Call) -> Tensor:
    cut: Callable[..., Tensor] = call.torch.triu if call.integer("upper", 1) else call.torch.tril
    return cut(call.inputs[0], (call.constant(1) or [0])[0])


LOGIC: dict[str, Op] = {
    "And": _logical("logical_and"),
    "Cast": Op(_cast),
    "Equal": _compared("eq"),
    "Greater": _compared("gt"),
    "GreaterOrEqual": _compared("ge"),
    "Less": _compared("lt"),
    "LessOrEqual": _compared("le"),
    "Max": _of_all("maximum"),
    "Min": _of_all("minimum"),
    "Not": _logical("logical_not"),
    "Or": _logical("logical_or"),
    "Range": Op(_range),
    "Trilu": Op(_trilu, with_constants(1)),
    "Where": Op(_where),
}
"""Op type -> how it runs."""
