"""Normalisation in torch."""

from __future__ import annotations

from bmopt.differentiable.call import Call, Op
from bmopt.differentiable.torch_access import Tensor


def _layer_norm(call: Call) -> Tensor:
    x, scale, *rest = call.inputs
    assert x is not None
    axis = call.integer("axis", -1) % x.dim()
    axes = tuple(range(axis, x.dim()))
    centred = x - x.mean(dim=axes, keepdim=True)
    variance = centred.square().mean(dim=axes, keepdim=True)
    found = centred / (variance + call.real("epsilon", 1e-5)).sqrt() * scale
    bias = rest[0] if rest else None
    return found if bias is None else found + bias


def _batch_norm(call: Call) -> Tensor:
    x, scale, bias, mean, variance = call.inputs
    return call.torch.nn.functional.batch_norm(
        *(x, mean, variance, scale, bias),
        training=call.is_training,
        momentum=1.0 - call.real("momentum", 0.9),
        eps=call.real("epsilon", 1e-5),
    )


def _instance_norm(call: Call) -> Tensor:
    x, scale, bias = call.inputs
    epsilon = call.real("epsilon", 1e-5)
    return call.torch.nn.functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def _group_norm(call: Call) -> Tensor:
    groups, epsilon = call.integer("num_groups", 1), call.real("epsilon", 1e-5)
    return call.torch.nn.functional.group_norm(call.inputs[0], groups, *call.inputs[1:], epsilon)


def _lp_norm(call: Call) -> Tensor:
    x, axis = call.inputs[0], call.integer("axis", -1)
    assert x is not None
    return x / x.norm(p=call.integer("p", 2), dim=axis, keepdim=True)


NORMS: dict[str, Op] = {
    "BatchNormalization": Op(_batch_norm, lambda node: len(node.outputs) == 1),
    "GroupNormalization": Op(_group_norm),
    "InstanceNormalization": Op(_instance_norm),
    "LayerNormalization": Op(_layer_norm),
    "LpNormalization": Op(_lp_norm),
}
"""Op type -> how it runs."""
