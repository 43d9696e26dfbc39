"""Statistics of BatchNormalization re-estimated after channels went."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.core.corrections import Replacement
from bmopt.core.runner import Array
from bmopt.graph.values import constant_array, is_op

Floats = npt.NDArray[np.float64]

_MEAN, _VARIANCE = 3, 4
_MOST_STRETCH = 2.0
_LEAST_VARIANCE = 1e-12


def is_estimable(node: ir.Node) -> bool:
    """Whether a node is a BatchNormalization with constant statistics."""
    return is_op(node, "BatchNormalization") and all(
        constant_array(node.inputs[index]) is not None for index in (_MEAN, _VARIANCE)
    )


class ChannelMoments:
    """Mean and variance of every channel (axis 1), streamed."""

    def __init__(self, arrays: Iterable[Array]) -> None:
        self.count = 0
        total, square = np.zeros(1), np.zeros(1)
        for array in arrays:
            rows = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1).astype(np.float64)
            self.count += rows.shape[1]
            total = total + rows.sum(1)
            square = square + np.square(rows).sum(1)
        self.mean: Floats = total / max(self.count, 1)
        self.variance: Floats = np.maximum(square / max(self.count, 1) - self.mean**2, 0.0)


def estimated(node: ir.Node, before: ChannelMoments, now: ChannelMoments) -> list[Replacement]:
    """Return statistics that give the output the mean and variance that it had in the original.

    What was trained is carried over: where the original's statistics are not those of the
    samples, neither are the new ones.

    Args:
        node: The BatchNormalization in the pruned model.
        before: Of what it reads in the original, of the channels that are left.
        now: Of what it reads in the pruned model.
    """
    mean, variance = (constant_array(node.inputs[index]) for index in (_MEAN, _VARIANCE))
    assert mean is not None
    assert variance is not None
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    moves = (before.variance > _LEAST_VARIANCE) & (now.variance > _LEAST_VARIANCE)
    ratio = np.where(moves, before.variance, 1.0) / np.where(moves, now.variance, 1.0)
    stretch = np.sqrt(ratio).clip(1.0 / _MOST_STRETCH, _MOST_STRETCH)
    new_mean = now.mean - (before.mean - mean) / stretch
    new_variance = np.maximum((variance + epsilon) / stretch**2 - epsilon, 0.0)
    name = node.name or ""
    return [
        Replacement(name, _MEAN, new_mean.astype(mean.dtype)),
        Replacement(name, _VARIANCE, new_variance.astype(variance.dtype)),
    ]
