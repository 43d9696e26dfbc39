"""How far two outputs are apart, element by element, streamed over batches.

B is the reference, as the second argument is for ``numpy.isclose``: an element is within the
tolerance where ``|a - b| <= atol + rtol * |b|``. Equal infinities and two NaNs are equal; any
other pair that is not finite on both sides is never within.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bmopt.bench.classification import scores_of, unpadded
from bmopt.bench.distortion import Sqnr
from bmopt.core.dataset import Batch
from bmopt.core.runner import Array
from bmopt.errors import UsageError

_CHUNK_ELEMENTS = 1 << 14
"""Elements that are widened to float64 at a time: few enough to stay in a cache."""


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """When two elements count as equal.

    Attributes:
        atol: Absolute difference that is allowed.
        rtol: Difference that is allowed, relative to B's element.

    Raises:
        UsageError: One is negative or not finite.
    """

    atol: float = 0.0
    rtol: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("atol", "rtol"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name}={getattr(self, name)}: give a number, 0 or more")


@dataclasses.dataclass(frozen=True)
class Worst:
    """The pair of finite elements that is farthest apart.

    Attributes:
        batch: Number of the batch, from 0.
        index: Where in it.
        a: A's element.
        b: B's element.
    """

    batch: int
    index: tuple[int, ...]
    a: float
    b: float


@dataclasses.dataclass(frozen=True)
class OutputDifference:
    """One output of two models on the same inputs.

    Attributes:
        name: The output.
        dtypes: Element types of both.
        elements: How many elements each has had, where they could be compared.
        max_abs: Largest absolute difference of elements that are finite on both sides; None
            where there are none, as for all numbers of text.
        mean_abs: Mean of these.
        max_rel: Largest difference relative to B's element, where that is not 0.
        mean_rel: Mean of these.
        outside: Elements that differ by more than the tolerance.
        unmatched: Those among them that are not finite on both sides.
        cosine: Of the angle between the outputs, over elements that are finite on both sides.
        sqnr_db: Ratio of B to the difference in decibels.
        nan: NaNs in A and in B.
        inf: Infinities in A and in B.
        argmax: Share of samples with the same largest score; None where the output is no scores.
        worst: The pair that is farthest apart, None where none differ.
        problem: Why the two cannot be compared; empty where they can.
    """

    name: str
    dtypes: tuple[str, str]
    elements: int
    max_abs: float | None = None
    mean_abs: float | None = None
    max_rel: float | None = None
    mean_rel: float | None = None
    outside: int = 0
    unmatched: int = 0
    cosine: float | None = None
    sqnr_db: float | None = None
    nan: tuple[int, int] = (0, 0)
    inf: tuple[int, int] = (0, 0)
    argmax: float | None = None
    worst: Worst | None = None
    problem: str = ""

    @property
    def is_within(self) -> bool:
        """Whether the two could be compared, and no element is outside the tolerance."""
        return not self.problem and self.outside == 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value, but for numbers that are not finite."""
        return {**dataclasses.asdict(self), "within": self.is_within}


class DifferenceSums:
    """Adds up one output's batches; memory does not grow with them."""

    def __init__(self, name: str, tolerance: Tolerance) -> None:
        self._name = name
        self._tolerance = tolerance
        self._problem = ""
        self._dtypes = ("", "")
        self._batches = 0
        self._numeric = True
        self._counts = dict.fromkeys(("elements", "outside", "unmatched", "finite", "nonzero"), 0)
        self._nan, self._inf = [0, 0], [0, 0]
        self._sums = dict.fromkeys(("abs", "rel", "aa", "bb", "ab"), 0.0)
        self._max_rel = 0.0
        self._worst: Worst | None = None
        self._sqnr = Sqnr()
        self._samples, self._agreeing = 0, 0

    def update(self, a: object, b: object, batch: Batch | None = None) -> None:
        """Add what both answered to ``batch``, without which no classes are compared.

        Rows that padding made count as any others, but for the agreement of classes.
        What cannot be compared, such as arrays of different shapes, is noted, and nothing is
        compared any more.
        """
        if self._problem:
            return
        self._problem = _problem(a, b)
        self._dtypes = (_dtype(a), _dtype(b))
        if self._problem or not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
            return
        self._counts["elements"] += a.size
        if _is_text(a):
            self._numeric = False
            self._counts["outside"] += int(np.sum(a.astype(str) != b.astype(str)))
        else:
            self._add_numbers(a, b)
            self._add_scores(a, b, batch)
        self._batches += 1

    def result(self) -> OutputDifference:
        """Return what the batches so far add up to."""
        if self._problem or not self._numeric:
            return OutputDifference(
                self._name,
                self._dtypes,
                self._counts["elements"],
                outside=self._counts["outside"],
                problem=self._problem,
            )
        finite, nonzero = self._counts["finite"], self._counts["nonzero"]
        worst_abs = abs(self._worst.a - self._worst.b) if self._worst is not None else 0.0
        return OutputDifference(
            name=self._name,
            dtypes=self._dtypes,
            elements=self._counts["elements"],
            max_abs=worst_abs if finite else None,
            mean_abs=self._sums["abs"] / finite if finite else None,
            max_rel=self._max_rel if nonzero else None,
            mean_rel=self._sums["rel"] / nonzero if nonzero else None,
            outside=self._counts["outside"],
            unmatched=self._counts["unmatched"],
            cosine=self._cosine() if finite else None,
            sqnr_db=self._sqnr.decibels(),
            nan=(self._nan[0], self._nan[1]),
            inf=(self._inf[0], self._inf[1]),
            argmax=self._agreeing / self._samples if self._samples else None,
            worst=self._worst,
        )

    def _add_numbers(self, a: Array, b: Array) -> None:
        left, right = a.reshape(-1), b.reshape(-1)
        for start in range(0, left.size, _CHUNK_ELEMENTS):
            part = slice(start, start + _CHUNK_ELEMENTS)
            wide = left[part].astype(np.float64), right[part].astype(np.float64)
            # Differences of the largest doubles are infinite, and so they are meant to count.
            with np.errstate(over="ignore", invalid="ignore"):
                self._add_chunk(*wide, start, a.shape)

    def _add_chunk(self, a: Array, b: Array, start: int, shape: tuple[int, ...]) -> None:
        self._sqnr.update(b, a)
        finite = np.isfinite(a) & np.isfinite(b)
        if finite.all():
            self._add_finite(a, b, lambda place: start + place, shape)
            return
        for side, values in enumerate((a, b)):
            self._nan[side] += int(np.isnan(values).sum())
            self._inf[side] += int(np.isinf(values).sum())
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        unmatched = int((~finite & ~same).sum())
        self._counts["unmatched"] += unmatched
        self._counts["outside"] += unmatched
        places = np.flatnonzero(finite)
        if places.size:
            self._add_finite(a[places], b[places], lambda place: start + int(places[place]), shape)

    def _add_finite(
        self, a: Array, b: Array, place_of: Callable[[int], int], shape: tuple[int, ...]
    ) -> None:
        """Add a chunk's finite pairs; ``place_of`` says where in the output one of them is."""
        apart, size = np.abs(a - b), np.abs(b)
        allowed = self._tolerance.atol + self._tolerance.rtol * size
        self._counts["finite"] += a.size
        self._counts["outside"] += int((apart > allowed).sum())
        self._add_relative(apart, size)
        self._sums["abs"] += float(apart.sum())
        for name, one, other in (("aa", a, a), ("bb", b, b), ("ab", a, b)):
            self._sums[name] += float((one * other).sum())
        top = int(apart.argmax())
        worst = abs(self._worst.a - self._worst.b) if self._worst is not None else 0.0
        if apart[top] > worst:
            index = tuple(int(i) for i in np.unravel_index(place_of(top), shape))
            self._worst = Worst(self._batches, index, float(a[top]), float(b[top]))

    def _add_relative(self, apart: Array, size: Array) -> None:
        nonzero = size > 0.0
        if not nonzero.all():
            apart, size = apart[nonzero], size[nonzero]
        if size.size:
            relative = apart / size
            self._counts["nonzero"] += relative.size
            self._max_rel = max(self._max_rel, float(relative.max()))
            self._sums["rel"] += float(relative.sum())

    def _add_scores(self, a: Array, b: Array, batch: Batch | None) -> None:
        if batch is None:
            return
        left, right = (scores_of(unpadded(array, batch), batch.size) for array in (a, b))
        if left is not None and right is not None:
            self._samples += batch.size
            self._agreeing += int(np.sum(left.argmax(axis=1) == right.argmax(axis=1)))

    def _cosine(self) -> float | None:
        """Return 1 for two outputs that are zero throughout, 0 where only one of them is."""
        aa, bb = self._sums["aa"], self._sums["bb"]
        if aa == 0.0 or bb == 0.0:
            return 1.0 if aa == bb else 0.0
        cosine = self._sums["ab"] / math.sqrt(aa) / math.sqrt(bb)
        return min(1.0, max(-1.0, cosine)) if math.isfinite(cosine) else None


def _problem(a: object, b: object) -> str:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return "is no tensor"
    if a.shape != b.shape:
        return f"shape {_shape(a)} against {_shape(b)}"
    text = [_is_text(array) for array in (a, b)]
    if text[0] != text[1]:
        return f"type {_dtype(a)} against {_dtype(b)}"
    return "" if all(text) or (_is_number(a) and _is_number(b)) else f"type {_dtype(a)}"


def _is_text(array: Array) -> bool:
    return array.dtype.hasobject or array.dtype.kind in "SU"


def _is_number(array: Array) -> bool:
    # The kind of ml_dtypes' types is V, and they have names of their own.
    return array.dtype.kind in "fiub" or array.dtype.name.startswith(("bfloat", "float", "int4"))


def _dtype(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return "str" if _is_text(value) else str(value.dtype.name)


def _shape(array: Array) -> str:
    return "x".join(map(str, array.shape)) or "scalar"
