"""Metrics of models that predict numbers: mean squared and mean absolute error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bmopt.bench.metric import Estimator, Floats, Metric, Rows, ratio_of_sums, required
from bmopt.core.runner import Array
from bmopt.errors import DataError, UsageError


@dataclasses.dataclass(frozen=True)
class MeanSquaredError(Metric):
    """The mean of squared differences from the labels, over all elements of all samples."""

    kind: ClassVar[str] = "mse"

    @property
    def higher_is_better(self) -> bool:
        """An error is better low."""
        return False

    @property
    def is_fraction(self) -> bool:
        """An error has the labels' unit, or its square."""
        return False

    def bound(self, outputs: Mapping[str, Array], size: int) -> Metric:
        """Choose the first output of numbers with a row per sample."""
        for name in [self.output] if self.output else list(outputs):
            if name in outputs and _fits(outputs[name], size):
                return dataclasses.replace(self, output=name)
        raise UsageError(
            f"no output {self.output or ''!r} holds numbers for {self.name}, a row per sample; "
            f"outputs are {_described(outputs)}"
        )

    def score(self, outputs: Mapping[str, Array], labels: Array | None, size: int) -> Rows:
        """Return ``error`` and ``elements``: the sum and the number of each sample's errors."""
        output = outputs.get(self.output or "")
        if output is None or not _fits(output, size):
            raise UsageError(f"{self.name}: no output {self.output!r} with a row per sample")
        truth = required(labels, self.name)
        if truth.dtype.kind not in "fiub":
            raise DataError(f"labels for {self.name} must be numbers, not {truth.dtype.name}")
        wanted, given = truth.reshape(len(truth), -1), output.reshape(size, -1)
        if wanted.shape != given.shape:
            raise DataError(
                f"labels for {self.name} have {wanted.shape[1]} numbers a sample and output "
                f"{self.output!r} has {given.shape[1]}; name another with output=NAME"
            )
        errors = self.error(given.astype(np.float64) - wanted.astype(np.float64))
        return {"error": errors.sum(axis=1), "elements": np.full(size, given.shape[1])}

    def estimator(self, rows: Rows) -> Estimator:
        """Return the mean over all elements."""
        return ratio_of_sums(rows["error"], rows["elements"])

    def error(self, difference: Floats) -> Floats:
        """Return the error of each element."""
        return np.square(difference)


@dataclasses.dataclass(frozen=True)
class MeanAbsoluteError(MeanSquaredError):
    """The mean of absolute differences from the labels, over all elements of all samples."""

    kind: ClassVar[str] = "mae"

    def error(self, difference: Floats) -> Floats:
        """Return the error of each element."""
        return np.abs(difference)


def _fits(output: Array, size: int) -> bool:
    numeric = output.dtype.kind in "fiu" or output.dtype.name == "bfloat16"
    return numeric and output.ndim > 0 and len(output) == size


def _described(outputs: Mapping[str, Array]) -> str:
    return ", ".join(f"{n} {a.dtype.name} {list(a.shape)}" for n, a in outputs.items())
