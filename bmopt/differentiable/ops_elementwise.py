"""Activations and arithmetic in torch."""

from __future__ import annotations

import functools
from collections.abc import Callable

from bmopt.differentiable.call import Call, Op, with_constants
from bmopt.differentiable.torch_access import Tensor, Torch


def _by(name: str) -> Op:
    """Return the op that torch has a function of that name for."""
    return Op(lambda call: getattr(call.torch, name)(*call.inputs))


def _of(function: Callable[[Torch, Tensor], Tensor]) -> Op:
    return Op(lambda call: function(call.torch, call.inputs[0]))


def _clip(call: Call) -> Tensor:
    x, *bounds = call.inputs
    assert x is not None
    low, high = [*bounds, None, None][:2]
    attributes = call.node.attributes
    if "min" in attributes or "max" in attributes:
        return x.clamp(call.real("min", float("-inf")), call.real("max", float("inf")))
    x = x if low is None else call.torch.maximum(x, low)
    return x if high is None else call.torch.minimum(x, high)


def _leaky_relu(call: Call) -> Tensor:
    return call.torch.nn.functional.leaky_relu(call.inputs[0], call.real("alpha", 0.01))


def _hard_sigmoid(call: Call) -> Tensor:
    x = call.inputs[0]
    assert x is not None
    return (x * call.real("alpha", 0.2) + call.real("beta", 0.5)).clamp(0.0, 1.0)


def _gelu(call: Call) -> Tensor:
    mode = call.text("approximate", "none")
    return call.torch.nn.functional.gelu(call.inputs[0], approximate=mode)


def _softmax(call: Call) -> Tensor:
    return call.torch.softmax(call.inputs[0], dim=call.integer("axis", -1))


def _prelu(call: Call) -> Tensor:
    x, slope = call.inputs
    assert x is not None
    return call.torch.where(x >= 0, x, x * slope)


def _sum(call: Call) -> Tensor:
    return functools.reduce(call.torch.add, call.inputs)


def _elu(call: Call) -> Tensor:
    return call.torch.nn.functional.elu(call.inputs[0], call.real("alpha", 1.0))


def _log_softmax(call: Call) -> Tensor:
    return call.torch.log_softmax(call.inputs[0], dim=call.integer("axis", -1))


ELEMENTWISE: dict[str, Op] = {
    "Add": _by("add"),
    "Sub": _by("sub"),
    "Mul": _by("mul"),
    "Div": _by("div"),
    "Pow": _by("pow"),
    "Sqrt": _by("sqrt"),
    "Exp": _by("exp"),
    "Log": _by("log"),
    "Abs": _by("abs"),
    "Neg": _by("neg"),
    "Reciprocal": _by("reciprocal"),
    "Sum": Op(_sum),
    "Mean": Op(lambda call: _sum(call) / len(call.inputs)),
    "Sin": _by("sin"),
    "Cos": _by("cos"),
    "Sign": _by("sign"),
    "Floor": _by("floor"),
    "Ceil": _by("ceil"),
    "Round": _by("round"),
    "Erf": _by("erf"),
    "Tanh": _by("tanh"),
    "Sigmoid": _by("sigmoid"),
    "Identity": _of(lambda torch, x: x),
    "Relu": _by("relu"),
    "Clip": Op(_clip, with_constants(1, 2)),
    "LeakyRelu": Op(_leaky_relu),
    "Elu": Op(_elu),
    "Selu": _of(lambda torch, x: torch.nn.functional.selu(x)),
    "Mish": _of(lambda torch, x: torch.nn.functional.mish(x)),
    "Softsign": _of(lambda torch, x: torch.nn.functional.softsign(x)),
    "Softplus": _of(lambda torch, x: torch.nn.functional.softplus(x)),
    "PRelu": Op(_prelu),
    "HardSigmoid": Op(_hard_sigmoid),
    "HardSwish": _of(lambda torch, x: torch.nn.functional.hardswish(x)),
    "Gelu": Op(_gelu),
    "Softmax": Op(_softmax),
    "LogSoftmax": Op(_log_softmax),
}
"""Op type -> how it runs."""
