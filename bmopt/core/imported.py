"""What a model that came quantised says about its own quantisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import onnx_ir as ir

from bmopt.core.ranges import METHODS, Interval, RangeTable, TensorRange

_MIDDLES = {"int8": 0, "uint8": 128}


@dataclasses.dataclass(frozen=True)
class ImportedRange:
    """The encoding that a source model gives an activation.

    Attributes:
        dtype: Element type of its integers, ``"int8"`` or ``"uint8"``.
        scale: Real step between two integers.
        zero_point: Integer that stands for 0.
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

        Where this one is symmetric, 127 of its steps, so that its scale comes back exactly.
        """
        return 127.0 * self.scale if self.is_symmetric else max(-self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Imported:
    """A model that came quantised, taken apart into a float model and its quantisation.

    Attributes:
        model: The float model. Its weights are the values that the source's integers stand for.
        tensors: Activation of ``model`` -> what the source stores it as.
        weight_scales: Product of ``model`` -> the scales of its weight, one per channel of the
            output axis or one in all, where they are symmetric and can be kept as they are.
        keep_float: Products by a constant weight that the source had not quantised.
        notes: Node of the source -> what had to be changed there, in one line.
    """

    model: ir.Model
    tensors: Mapping[str, ImportedRange]
    weight_scales: Mapping[str, tuple[float, ...]]
    keep_float: tuple[str, ...]
    notes: Mapping[str, str]


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
