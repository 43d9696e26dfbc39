"""Metrics of how like the reference's outputs are, without labels: noise and direction.

Every output counts with all of its values over all samples, and the worst output decides. The
rows are sums over a sample's values, from which the ratio of any resample follows. An output
without a row per sample is shared out among the samples of its batch.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from bmopt.bench.decisions import is_float
from bmopt.bench.metric import NO_OPTION, Estimator, Floats, Metric, Rows
from bmopt.core.runner import Array
from bmopt.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Relative(Metric):
    """A metric that compares outputs with the reference's, which needs no labels."""

    @property
    def is_relative(self) -> bool:
        """The reference is what the others are measured by."""
        return True

    @property
    def needs_labels(self) -> bool:
        """The reference's outputs stand in for them."""
        return False

    def score(self, outputs: Mapping[str, Array], labels: Array | None, size: int) -> Rows:
        """Return the rows of the reference itself."""
        return self.beside(outputs, outputs, labels, size)


@dataclasses.dataclass(frozen=True)
class _OfValues(Relative):
    """A metric of all values of every output of numbers, or of the ``output`` that is named.

    Where there are outputs of floats, others are left out.

    Attributes:
        outputs: What is compared; chosen by ``bound``.
    """

    outputs: tuple[str, ...] = dataclasses.field(default=(), metadata=NO_OPTION)

    sums: ClassVar[tuple[str, ...]]
    """Names of the rows."""

    @property
    def is_fraction(self) -> bool:
        """One sample may change the value by any amount."""
        return False

    def bound(self, outputs: Mapping[str, Array], size: int) -> Metric:
        """Choose the outputs of floats, or of integers where there are none."""
        del size
        given = {self.output: outputs.get(self.output)} if self.output else dict(outputs)
        known = {name: array for name, array in given.items() if name and array is not None}
        floats = tuple(name for name, array in known.items() if is_float(array))
        found = floats or tuple(name for name, array in known.items() if _is_number(array))
        if not found:
            described = ", ".join(
                f"{n} {a.dtype.name} {list(a.shape)}" for n, a in outputs.items()
            )
            raise UsageError(
                f"{self.kind}: no output {self.output or ''!r} holds numbers; outputs are "
                f"{described}"
            )
        return dataclasses.replace(self, outputs=found)

    def beside(
        self,
        expected: Mapping[str, Array],
        outputs: Mapping[str, Array],
        labels: Array | None,
        size: int,
    ) -> Rows:
        """Return the sums of each sample and output: float64 ``[samples, outputs]`` each."""
        del labels
        parts = [self._sums(expected[n], outputs.get(n), size) for n in self.outputs]
        return {name: np.stack([part[name] for part in parts], axis=1) for name in self.sums}

    def estimator(self, rows: Rows) -> Estimator:
        """Return the value of the worst output, from weighted sums."""
        sums = {name: np.where(np.isfinite(row), row, 0.0) for name, row in rows.items()}
        broken = np.any([~np.isfinite(row) for row in rows.values()], axis=0) * 1.0
        samples, outputs = broken.shape

        def values(counts: Floats) -> Floats:
            added = {name: counts @ row for name, row in sums.items()}
            found = self.ratio(added, counts @ broken > 0.0)
            worst: Floats = found.min(axis=1)
            return worst

        return Estimator(samples, samples * outputs * (len(rows) + 1), values)

    @abc.abstractmethod
    def ratio(self, sums: Mapping[str, Floats], broken: Array) -> Floats:
        """Return the value from sums of any one shape, and where one was not finite."""

    @abc.abstractmethod
    def of_pairs(self, expected: Floats, actual: Floats) -> dict[str, Floats]:
        """Return the sums of each row of two matrices ``[rows, values]``."""

    def _sums(self, expected: Array, actual: Array | None, size: int) -> dict[str, Floats]:
        if actual is None or actual.shape != expected.shape or not _is_number(actual):
            return dict.fromkeys(self.sums, np.full(size, np.inf))
        split = bool(expected.ndim) and len(expected) == size
        rows = size if split else 1
        left, right = (a.astype(np.float64).reshape(rows, -1) for a in (expected, actual))
        sums = _finite_sums(left, right, self.of_pairs)
        return sums if split else {n: np.repeat(row / size, size) for n, row in sums.items()}


@dataclasses.dataclass(frozen=True)
class SignalToNoise(_OfValues):
    """The ratio of the reference's power to the difference's in decibels.

    That is 10 log10(sum ref^2 / sum (ref - x)^2). Infinite for equal outputs; minus infinite
    where a value is finite in only one of the two or an output has another shape, and for noise
    on a reference that is zero throughout.
    """

    kind: ClassVar[str] = "sqnr"
    sums: ClassVar[tuple[str, ...]] = ("signal", "noise")

    @property
    def unit(self) -> str:
        """Decibels."""
        return "dB"

    def ratio(self, sums: Mapping[str, Floats], broken: Array) -> Floats:
        """Return decibels."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = 10.0 * (np.log10(sums["signal"]) - np.log10(sums["noise"]))
        exact = np.where(sums["noise"] == 0.0, np.inf, found)
        return np.where(broken, -np.inf, exact)

    def of_pairs(self, expected: Floats, actual: Floats) -> dict[str, Floats]:
        """Return ``signal`` and ``noise``."""
        noise = np.square(expected - actual).sum(axis=1)
        return {"signal": np.square(expected).sum(axis=1), "noise": noise}


@dataclasses.dataclass(frozen=True)
class CosineSimilarity(_OfValues):
    """The cosine of the angle between all values of both models.

    1 where both are zero throughout, 0 where one is; not a number where a value is finite in only
    one of the two or an output has another shape.
    """

    kind: ClassVar[str] = "cosine"
    sums: ClassVar[tuple[str, ...]] = ("product", "reference", "candidate")

    def ratio(self, sums: Mapping[str, Floats], broken: Array) -> Floats:
        """Return cosines."""
        left, right = sums["reference"], sums["candidate"]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = sums["product"] / np.sqrt(left) / np.sqrt(right)
        known = np.where((left == 0.0) | (right == 0.0), (left == right) * 1.0, found)
        return np.where(broken, np.nan, np.clip(known, -1.0, 1.0))

    def of_pairs(self, expected: Floats, actual: Floats) -> dict[str, Floats]:
        """Return ``product``, and the squares of both sides."""
        return {
            "product": (expected * actual).sum(axis=1),
            "reference": np.square(expected).sum(axis=1),
            "candidate": np.square(actual).sum(axis=1),
        }


def _finite_sums(
    left: Floats, right: Floats, sums: Callable[[Floats, Floats], dict[str, Floats]]
) -> dict[str, Floats]:
    """Return the sums over values that are finite on both sides, infinite where any differs else.

    Equal infinities and two NaN are the same and add nothing.
    """
    finite = np.isfinite(left) & np.isfinite(right)
    with np.errstate(over="ignore"):
        if finite.all():
            return sums(left, right)
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        lost = ~(finite | same).all(axis=1)
        found = sums(np.where(finite, left, 0.0), np.where(finite, right, 0.0))
    return {name: np.where(lost, np.inf, row) for name, row in found.items()}


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "iub" or is_float(array)
