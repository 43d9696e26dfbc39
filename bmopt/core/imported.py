"""What a model that came quantised says about its own quantisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import onnx_ir as ir

from bmopt.core.ranges import METHODS, Interval, RangeTable, TensorRange
from bmopt.core.scheme import StoredType

_MIDDLES = {"int8": 0, "uint8": 128, "float8e4m3fn": 0}
_LARGEST = {"int8": 127.0, "uint8": 127.0, "float8e4m3fn": 448.0}


@dataclasses.dataclass(frozen=True)
class ImportedRange:
    """The encoding that a source model gives an activation.

    Attributes:
        dtype: Element type that it is stored in, ``"int8"``, ``"uint8"`` or ``"float8e4m3fn"``.
        scale: Real number that 1 stands for, counted from the zero point.
        zero_point: What is stored for 0.
        low: Smallest real number that it can store.
        high: Largest real number that it can store.
    """

    dtype: str
    scale: float
    zero_point: int
    low: float
    high: float

    @property
    def is_symmetric(self) -> bool:
        """Whether the zero point is the middle of the type."""
        return self.zero_point == _MIDDLES[self.dtype]

    @property
    def bound(self) -> float:
        """Largest magnitude of a symmetric encoding that stands for this one.

        Where this one is symmetric, 127 of its steps, or 448 in float8, so that its scale comes
        back exactly.
        """
        if not self.is_symmetric:
            return max(-self.low, self.high)
        return _LARGEST[self.dtype] * self.scale


@dataclasses.dataclass(frozen=True)
class Imported:
    """A model that came quantised, taken apart into a float model and its quantisation.

    Attributes:
        model: The float model, in float32. Its weights are the values that the source's integers
            stand for.
        tensors: Activation of ``model`` -> what the source stores it as.
        weight_scales: Product of ``model`` -> the scales of its weight, one per channel of the
            output axis or one in all, where they are symmetric and of the type that the target
            stores, so that they can be kept as they are.
        keep_float: Products by a constant weight that the source had not quantised.
        notes: Node of the source -> what had to be changed there, in one line.
    """

    model: ir.Model
    tensors: Mapping[str, ImportedRange]
    weight_scales: Mapping[str, tuple[float, ...]]
    keep_float: tuple[str, ...]
    notes: Mapping[str, str]

    def bounds_values(self, stored: StoredType) -> bool:
        """Whether the ranges are good for a target that stores ``stored``.

        Those of integers end where the values do. Room above the values costs float8 nothing,
        and quantisers leave it: ModelOpt 0.47 makes it 12 times the range. It would cost integers
        most of their steps.
        """
        return stored == "float8e4m3fn" or all(
            entry.dtype != "float8e4m3fn" for entry in self.tensors.values()
        )


def to_range_table(imported: Imported, model_digest: str) -> RangeTable:
    """Return the source's encodings as the ranges of ``imported.model``, for every method alike.

    Args:
        imported: A model that came quantised.
        model_digest: Digest of ``imported.model``.
    """
    return RangeTable(
        model=model_digest,
        dataset="scales of the source model",
        samples=0,
        tensors={name: _tensor_range(entry) for name, entry in imported.tensors.items()},
    )


def _tensor_range(entry: ImportedRange) -> TensorRange:
    return TensorRange(
        low=entry.low,
        high=entry.high,
        count=0,
        affine=dict.fromkeys(METHODS, Interval(entry.low, entry.high)),
        symmetric=dict.fromkeys(METHODS, Interval(-entry.bound, entry.bound)),
    )
