"""How like another model's outputs are, without labels: agreement, noise and direction."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bmopt.bench.classification import scores_of
from bmopt.bench.distortion import Sqnr
from bmopt.bench.paired import Paired
from bmopt.core.runner import Array


@dataclasses.dataclass(frozen=True)
class Likeness:
    """A candidate's outputs beside the reference's, on the same samples.

    Attributes:
        agreement: Samples on which both choose the same class, as right; the reference is right
            throughout. None without class scores.
        sqnr_db: Output -> signal-to-noise ratio in dB; infinite where the outputs are equal.
        cosine: Output -> cosine of the angle between all of its values; None where one is zero
            throughout or not finite.
        incomparable: Outputs that are not numbers, or differ in shape.
    """

    agreement: Paired | None
    sqnr_db: Mapping[str, float]
    cosine: Mapping[str, float | None]
    incomparable: tuple[str, ...]

    @property
    def agreed(self) -> float | None:
        """The fraction of samples on which both choose the same class."""
        return None if self.agreement is None else float(np.mean(self.agreement.flags()[1]))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value; infinite decibels are the strings ``"inf"`` and ``"-inf"``."""
        return {
            "agreement": self.agreed,
            "sqnr_db": decibel_values(self.sqnr_db),
            "cosine": dict(self.cosine),
            "incomparable": list(self.incomparable),
        }


def decibel_values(decibels: Mapping[str, float]) -> dict[str, float | str]:
    """Return decibels as JSON values, which know no infinity."""
    return {name: db if math.isfinite(db) else str(db) for name, db in decibels.items()}


class LikenessMeter:
    """Streams two models' outputs."""

    def __init__(self) -> None:
        self._noise: dict[str, Sqnr] = {}
        self._angle: dict[str, Cosine] = {}
        self._same: list[Array] = []

    def add(
        self,
        expected: Mapping[str, Array],
        actual: Mapping[str, Array],
        size: int,
        scores: str | None,
    ) -> None:
        """Add a batch; ``scores`` is the output with class scores, if there is one."""
        for name, array in expected.items():
            self._noise.setdefault(name, Sqnr()).update(array, actual[name])
            self._angle.setdefault(name, Cosine()).update(array, actual[name])
        if scores is not None:
            pair = [scores_of(outputs[scores], size) for outputs in (expected, actual)]
            if pair[0] is not None and pair[1] is not None:
                self._same.append(np.argmax(pair[0], axis=1) == np.argmax(pair[1], axis=1))

    def likeness(self) -> Likeness:
        """Return what was seen so far."""
        same = np.concatenate(self._same) if self._same else None
        decibels = {name: sqnr.decibels() for name, sqnr in self._noise.items()}
        known = {name: value for name, value in decibels.items() if value is not None}
        return Likeness(
            agreement=None if same is None else Paired.of(np.ones_like(same), same),
            sqnr_db=known,
            cosine={name: self._angle[name].value() for name in known},
            incomparable=tuple(name for name in decibels if name not in known),
        )


class Cosine:
    """Streams the cosine of the angle between two models' values of an output, in float64."""

    def __init__(self) -> None:
        self._product = 0.0
        self._squares = [0.0, 0.0]

    def update(self, reference: Array, candidate: Array) -> None:
        """Add a batch; arrays that cannot be compared make it NaN."""
        numeric = all(
            a.dtype.kind in "fiub" or a.dtype.name == "bfloat16" for a in (reference, candidate)
        )
        if reference.shape != candidate.shape or not numeric:
            self._product = math.nan
            return
        left, right = (a.astype(np.float64).reshape(-1) for a in (reference, candidate))
        with np.errstate(invalid="ignore", over="ignore"):
            self._product += float(left @ right)
            self._squares[0] += float(left @ left)
            self._squares[1] += float(right @ right)

    def value(self) -> float | None:
        """Return the cosine, or None where there is none."""
        length = math.sqrt(self._squares[0]) * math.sqrt(self._squares[1])
        if not math.isfinite(self._product) or not math.isfinite(length) or length == 0.0:
            return None
        return max(-1.0, min(1.0, self._product / length))
