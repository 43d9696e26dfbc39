"""How large the weights are that make each channel of a group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.graph.channels.groups import Group, Slice
from bmopt.graph.values import constant_array

Norm = Literal["l1", "l2"]
Floats = npt.NDArray[np.float64]


def weight_norms(constants: Mapping[str, ir.Value], group: Group, norm: Norm) -> Floats:
    """Return a norm of the weights of each channel, ``[group.size]``.

    Where several weights make a channel, as before a residual Add, each is first divided by its
    mean over the channels, so that none drowns the others. L1: H. Li et al., "Pruning Filters for
    Efficient ConvNets" (ICLR 2017).

    Args:
        constants: Name -> constant of the model.
        group: The group.
        norm: Which.
    """
    measure: Callable[[Floats], Floats] = np.abs if norm == "l1" else np.square
    total = np.zeros(group.size)
    for place in group.slices:
        if place.role == "writes":
            found = _summed(constants[place.value], place, group.size, measure)
            found = found if norm == "l1" else np.sqrt(found)
            total += found / (found.mean() or 1.0)
    return total


def _summed(
    value: ir.Value, place: Slice, size: int, measure: Callable[[Floats], Floats]
) -> Floats:
    array = constant_array(value)
    assert array is not None
    moved = np.moveaxis(array, place.axis, 0).reshape(array.shape[place.axis], -1)
    sums = measure(moved.astype(np.float64)).sum(1)
    ours = place.channels >= 0
    found: Floats = np.bincount(place.channels[ours], weights=sums[ours], minlength=size).astype(
        np.float64
    )
    return found


def constants_of(model: ir.Model) -> dict[str, ir.Value]:
    """Return name -> constant of a model's main graph: initialisers, and what Constants write."""
    found = {str(name): value for name, value in model.graph.initializers.items()}
    for node in model.graph:
        if node.op_type == "Constant":
            found[str(node.outputs[0].name)] = node.outputs[0]
    return found
