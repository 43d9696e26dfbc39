"""What a metric is: per-sample rows from every batch, and one value from any resample of them.

A metric never keeps outputs. ``score`` reduces a batch to rows, a few numbers for each sample,
from which the value of any multiset of the samples follows. That is what pairs two models sample
by sample, and what a bootstrap resamples.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bmopt.bench.label_files import load_labels
from bmopt.core.runner import Array
from bmopt.errors import DataError

Floats = npt.NDArray[np.float64]
Rows = Mapping[str, Array]
"""Name -> ``[samples]`` or ``[samples, width]``; -1 fills rows of unequal width."""

RIGHT = "right"
"""The rows of a metric that only asks whether a sample is right."""

NO_OPTION: Mapping[str, bool] = {"option": False}
"""Metadata of a field that ``bound`` fills and a text cannot."""


@dataclasses.dataclass(frozen=True)
class Estimator:
    """The value of a metric as a function of how often each sample counts.

    Attributes:
        samples: How many samples there are.
        work: Elementary operations that one resample costs, roughly.
        values: From counts ``float64 [resamples, samples]`` to values ``float64 [resamples]``.
    """

    samples: int
    work: int
    values: Callable[[Floats], Floats]

    def value(self) -> float:
        """Return the value on the samples as they are."""
        return float(self.values(np.ones((1, self.samples)))[0])


@dataclasses.dataclass(frozen=True)
class Metric(abc.ABC):
    """A metric with its options, which are the fields; see ``bmopt.bench.metric_text``.

    Attributes:
        output: The output it reads; the first that fits if not given.
        labels: A file with the labels, for data that come without; see
            ``bmopt.bench.label_files``.
    """

    output: str | None = None
    labels: str | None = None

    kind: ClassVar[str]
    """The first word of the text form."""
    positional: ClassVar[str | None] = None
    """The option that may be written without its name, behind the first colon."""

    @property
    def name(self) -> str:
        """What tables and gates call it."""
        return self.kind

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better."""
        return True

    @property
    def is_fraction(self) -> bool:
        """Whether the value is a fraction that one sample changes by 1/samples at most."""
        return True

    @property
    def unit(self) -> str:
        """What stands behind the value; empty for a bare number."""
        return ""

    @property
    def needs_labels(self) -> bool:
        """Whether there is no value without labels."""
        return True

    @property
    def is_relative(self) -> bool:
        """Whether it tells how like the reference's outputs are, which makes that one perfect."""
        return False

    def load_labels(self) -> Array | None:
        """Return the labels in the file ``labels``, None where there is no such option.

        Raises:
            DataError: The file is missing, damaged or of another form.
        """
        return None if self.labels is None else load_labels(self.labels)

    @abc.abstractmethod
    def bound(self, outputs: Mapping[str, Array], size: int) -> Metric:
        """Return the metric with its output chosen, given the reference's first batch.

        Raises:
            UsageError: The outputs are not what the metric reads.
        """

    @abc.abstractmethod
    def score(self, outputs: Mapping[str, Array], labels: Array | None, size: int) -> Rows:
        """Return the rows of a batch of ``size`` samples.

        Args:
            outputs: Without the rows that padding made.
            labels: One entry per sample; None where there are none.
            size: How many samples there are.

        Raises:
            DataError: The labels are missing or do not fit the outputs.
            UsageError: The outputs are not what the metric reads.
        """

    def beside(
        self,
        expected: Mapping[str, Array],
        outputs: Mapping[str, Array],
        labels: Array | None,
        size: int,
    ) -> Rows:
        """Return the rows of a batch with the reference's outputs at hand.

        Args:
            expected: The reference's outputs of the same batch; only a relative metric reads them.
            outputs: As for ``score``.
            labels: As for ``score``.
            size: As for ``score``.

        Raises:
            DataError: As ``score`` does.
            UsageError: As ``score`` does.
        """
        del expected
        return self.score(outputs, labels, size)

    @abc.abstractmethod
    def estimator(self, rows: Rows) -> Estimator:
        """Return the value as a function of the samples' counts."""


def required(labels: Array | None, metric: str) -> Array:
    """Return the labels.

    Raises:
        DataError: There are none.
    """
    if labels is None:
        raise DataError(f"{metric} needs labels and the data have none; add labels=FILE to it")
    return labels


def joined(parts: Sequence[Rows]) -> dict[str, Array]:
    """Return the rows of several batches as one, narrow ones filled up with -1."""
    return {name: _stacked([part[name] for part in parts]) for name in parts[0]}


def ratio_of_sums(numerators: Array, denominators: Array) -> Estimator:
    """Return the estimator of sum(numerators) / sum(denominators), NaN where that is 0/0.

    Args:
        numerators: Numbers ``[samples]``.
        denominators: Numbers ``[samples]``, not negative.
    """
    above, below = numerators.astype(np.float64), denominators.astype(np.float64)

    def values(counts: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient: Floats = (counts @ above) / (counts @ below)
        return quotient

    return Estimator(above.size, above.size, values)


def mean_of(scores: Array) -> Estimator:
    """Return the estimator of the mean of ``scores [samples]``."""
    return ratio_of_sums(scores, np.ones(scores.size))


def _stacked(arrays: Sequence[Array]) -> Array:
    if all(array.ndim == 2 for array in arrays):
        width = max(array.shape[1] for array in arrays)
        fill = [((0, 0), (0, width - array.shape[1])) for array in arrays]
        arrays = [np.pad(a, f, constant_values=-1) for a, f in zip(arrays, fill, strict=True)]
    return np.concatenate(arrays)
