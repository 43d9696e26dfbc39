"""Tensors inside student and teacher that are to be alike, matched by their names."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import onnx_ir as ir

from bmopt.differentiable.torch_access import Tensor
from bmopt.errors import UsageError
from bmopt.graph.values import constant_tensor, is_op, only_consumer

_AUTO = "auto"
_MOST = 8
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "PRelu")
_SPATIAL = 4


def features_of(student: ir.Model, teacher: ir.Model, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the tensors to match, in graph order.

    Args:
        student: The model that is trained.
        teacher: The model that it learns from.
        wanted: Names and globs of tensors that both have; ``auto`` stands for the ends of
            residual blocks, or where there are none for up to eight activations spread evenly.

    Raises:
        UsageError: A name matches nothing that both have.
    """
    theirs = {out.name for node in teacher.graph for out in node.outputs}
    mine = [o.name or "" for node in student.graph for o in node.outputs if o.name in theirs]
    found: set[str] = set()
    for pattern in wanted:
        names = [name for name in mine if fnmatch.fnmatchcase(name, pattern)]
        if pattern == _AUTO:
            names = [name for name in _automatic(student) if name in theirs]
        if not names:
            raise UsageError(
                f"features {pattern!r}: the model and its teacher have no such tensor in common"
            )
        found |= set(names)
    return tuple(name for name in mine if name in found)


def distance(mine: Tensor, theirs: Tensor) -> Tensor | None:
    """Return how unlike two tensors are: 0 for equal ones, about 1 where nothing is alike.

    Tensors of one shape are compared element by element. Of maps ``[N, C, H, W]`` that differ in
    channels, their attention is: the mean over channels of the squares, each sample's scaled to
    length 1 (S. Zagoruyko and N. Komodakis, "Paying More Attention to Attention", 2017). Others
    cannot be compared: None.
    """
    if mine.shape == theirs.shape:
        scale = theirs.float().square().mean().clamp_min(1e-12)
        return (mine.float() - theirs.float()).square().mean() / scale
    if mine.dim() != _SPATIAL or theirs.dim() != _SPATIAL or mine.shape[2:] != theirs.shape[2:]:
        return None
    return (_attention(mine) - _attention(theirs)).square().sum(dim=1).mean()


def _attention(maps: Tensor) -> Tensor:
    mean = maps.float().square().mean(dim=1).flatten(1)
    return mean / mean.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _automatic(model: ir.Model) -> list[str]:
    sums = [node for node in model.graph if is_op(node, "Add") and _is_residual(node)]
    if sums:
        return [_behind(node) for node in sums]
    names = [n.outputs[0].name or "" for n in model.graph if is_op(n, *_ACTIVATIONS)]
    step = max(1, -(-len(names) // _MOST))
    return names[step - 1 :: step]


def _is_residual(node: ir.Node) -> bool:
    return all(constant_tensor(value) is None for value in node.inputs)


def _behind(node: ir.Node) -> str:
    """Return the activation of a sum, or the sum where none alone reads it."""
    reader = only_consumer(node.outputs[0])
    if reader is not None and is_op(reader, *_ACTIVATIONS):
        return reader.outputs[0].name or ""
    return node.outputs[0].name or ""
