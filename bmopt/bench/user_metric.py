"""A metric that is a user's function.

``function(outputs, labels)`` is called with a batch: output name -> array, without padding, and
the labels, or None where the data have none. It returns a score per sample, ``[samples]``, and
the metric is their mean. Attributes of the function change that:

``lower_is_better = True``
    The score is an error.
``is_fraction = True``
    Scores lie between 0 and 1; gates may then count in percentage points.
``whole = True``
    The function is called once with everything, and returns one number. All outputs are kept in
    memory, and the interval takes 200 calls per model on resampled samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bmopt.bench.metric import Estimator, Floats, Metric, Rows, mean_of
from bmopt.bench.user_function import user_function
from bmopt.core.runner import Array
from bmopt.errors import DataError, UsageError

_OUTPUT = "output "
_LABELS = "labels"
_WHOLE_WORK = 2_000_000
_FAULTS = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)


@dataclasses.dataclass(frozen=True)
class UserMetric(Metric):
    """A metric that is a user's function; see the module.

    Attributes:
        function: ``module:function``.
    """

    function: str = ""

    kind: ClassVar[str] = "function"
    positional: ClassVar[str | None] = "function"

    @property
    def name(self) -> str:
        """The function's text."""
        return self.function

    @property
    def higher_is_better(self) -> bool:
        """What the function says."""
        return not getattr(user_function(self.function), "lower_is_better", False)

    @property
    def is_fraction(self) -> bool:
        """What the function says."""
        return bool(getattr(user_function(self.function), "is_fraction", False))

    @property
    def needs_labels(self) -> bool:
        """The function may do without."""
        return False

    def bound(self, outputs: Mapping[str, Array], size: int) -> Metric:
        """Find the function."""
        whole = bool(getattr(user_function(self.function), "whole", False))
        loose = [n for n, a in outputs.items() if not a.ndim or len(a) != size]
        if whole and loose:
            raise UsageError(
                f"{self.function}: output {loose[0]!r} has no row per sample, so that outputs "
                "cannot be joined; return a score per sample instead of whole = True"
            )
        return self

    def score(self, outputs: Mapping[str, Array], labels: Array | None, size: int) -> Rows:
        """Return ``score [samples]``; of a ``whole`` metric, outputs and labels themselves."""
        if getattr(user_function(self.function), "whole", False):
            rows = {_OUTPUT + name: array for name, array in outputs.items()}
            return rows if labels is None else {**rows, _LABELS: labels}
        scores = self._called(outputs, labels)
        if scores.shape != (size,):
            raise DataError(
                f"{self.function}: returned shape {list(scores.shape)} for {size} samples; "
                "return a number per sample"
            )
        return {"score": scores}

    def estimator(self, rows: Rows) -> Estimator:
        """Return the mean of the scores, or what the function says of resampled samples."""
        if "score" in rows:
            return mean_of(rows["score"])
        samples = len(next(iter(rows.values())))

        def values(counts: Floats) -> Floats:
            return np.array([self._of_resample(rows, weights) for weights in counts])

        return Estimator(samples, _WHOLE_WORK, values)

    def _of_resample(self, rows: Rows, weights: Floats) -> float:
        picks = np.repeat(np.arange(weights.size), weights.astype(np.int64))
        outputs = {
            name.removeprefix(_OUTPUT): array[picks]
            for name, array in rows.items()
            if name != _LABELS
        }
        labels = rows[_LABELS][picks] if _LABELS in rows else None
        found = self._called(outputs, labels)
        if found.size != 1:
            raise DataError(
                f"{self.function}: is whole and returned {found.size} numbers; return one"
            )
        return float(found.reshape(-1)[0])

    def _called(self, outputs: Mapping[str, Array], labels: Array | None) -> Floats:
        try:
            return np.asarray(user_function(self.function)(outputs, labels), dtype=np.float64)
        except _FAULTS as error:
            raise DataError(f"{self.function}: failed ({error!r}); check the function") from error
