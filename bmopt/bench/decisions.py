"""What a model decides on in outputs that are no class scores, and where two models agree.

Integers, booleans and texts are decisions themselves. Of floats, the index of the largest value
along the axis of classes is one: the last axis of ``[samples, steps, classes]``, the second of
``[samples, classes, height, width]`` and beyond, unless it has three entries, as images have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from bmopt.bench.metric import Floats
from bmopt.core.runner import Array

_COLOURS = 3


@dataclasses.dataclass(frozen=True)
class Decision:
    """An output that holds decisions.

    Attributes:
        output: The output.
        axis: Along which a class is chosen; 0 where the values themselves are the decisions.
    """

    output: str
    axis: int

    def agreed(
        self, expected: Mapping[str, Array], actual: Mapping[str, Array], size: int
    ) -> Floats:
        """Return which share of each sample's decisions is the same: float64 ``[samples]``.

        It is 0 where the output is missing or has another shape, and where only the candidate's
        scores hold a NaN.
        """
        left = with_samples(expected[self.output], size)
        right = with_samples(actual[self.output], size) if self.output in actual else None
        if left is None or right is None or left.shape != right.shape:
            return np.zeros(size)
        same = self._same(left, right).reshape(size, -1)
        return same.mean(axis=1) if same.shape[1] else np.ones(size)

    def _same(self, left: Array, right: Array) -> Array:
        if self.axis == 0:
            if is_text(left) or is_text(right):
                left, right = left.astype(str), right.astype(str)
            return np.asarray(left == right)
        left, right = (a.astype(np.float32) if a.dtype.itemsize < 4 else a for a in (left, right))
        same = np.argmax(left, axis=self.axis) == np.argmax(right, axis=self.axis)
        lost = np.isnan(right).any(axis=self.axis) & ~np.isnan(left).any(axis=self.axis)
        return np.asarray(same & ~lost)


def find_decisions(outputs: Mapping[str, Array], size: int, axis: int) -> tuple[Decision, ...]:
    """Return the outputs with decisions.

    Args:
        outputs: The reference's, of one batch.
        size: How many samples it has; outputs need a row for each, unless it is one.
        axis: Along which floats choose a class; 0 leaves that to the shape.
    """
    return tuple(_decisions(outputs, size, axis))


def with_samples(array: Array, size: int) -> Array | None:
    """Return the array with an axis of samples first, or None where it has none."""
    if array.ndim and len(array) == size:
        return array
    return array[None] if size == 1 else None


def is_text(array: Array) -> bool:
    """Whether the array holds texts."""
    return array.dtype.kind in "OSU"


def is_float(array: Array) -> bool:
    """Whether the array holds floats, bfloat16 among them."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _decisions(outputs: Mapping[str, Array], size: int, axis: int) -> Iterator[Decision]:
    for name, output in outputs.items():
        array = with_samples(output, size)
        if array is None or not array.size:
            continue
        if array.dtype.kind in "iub" or is_text(array):
            yield Decision(name, 0)
        elif is_float(array):
            chosen = axis or _class_axis(array)
            if 0 < chosen < array.ndim and array.shape[chosen] > 1:
                yield Decision(name, chosen)


def _class_axis(array: Array) -> int:
    """Return the axis of classes, 0 where there is none."""
    if array.ndim == 3:
        return 2
    return 1 if array.ndim > 3 and array.shape[1] != _COLOURS else 0
