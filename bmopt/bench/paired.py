"""Right and wrong of two models on the same samples."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from bmopt.core.ranges import Interval

Flags = npt.NDArray[np.bool_]

_RESAMPLES = 20_000


@dataclasses.dataclass(frozen=True)
class Paired:
    """Which samples each model got right, one bit a sample, the first in the highest bit.

    Attributes:
        samples: How many samples there are.
        reference: The reference's bits.
        candidate: The candidate's bits.
    """

    samples: int
    reference: bytes
    candidate: bytes

    @classmethod
    def of(cls, reference: Flags, candidate: Flags) -> Paired:
        """Pack two boolean arrays ``[samples]``."""
        if reference.shape != candidate.shape:
            raise ValueError("both models must have run on the same samples")
        packed = (np.packbits(flags).tobytes() for flags in (reference, candidate))
        return cls(reference.size, *packed)

    def flags(self) -> tuple[Flags, Flags]:
        """Return the two boolean arrays."""
        return self._unpack(self.reference), self._unpack(self.candidate)

    def discordant(self) -> tuple[int, int]:
        """Return how many samples only the candidate, and only the reference, got right."""
        reference, candidate = self.flags()
        return int(np.sum(candidate & ~reference)), int(np.sum(reference & ~candidate))

    def difference(self, *, confidence: float = 0.99, seed: int = 0) -> Interval:
        """Return a paired-bootstrap interval of candidate minus reference accuracy.

        Resampling the samples is drawing the numbers of wins and losses from a multinomial. Half
        a win and half a loss are added, without which no disagreement among few samples would
        pass for none at all.
        """
        gained, lost = self.discordant()
        weights = np.array([gained + 0.5, lost + 0.5, self.samples - gained - lost])
        chances = weights / weights.sum()
        draws = np.random.default_rng(seed).multinomial(self.samples, chances, _RESAMPLES)
        tail = (1.0 - confidence) / 2.0
        low, high = np.quantile((draws[:, 0] - draws[:, 1]) / self.samples, (tail, 1.0 - tail))
        return Interval(float(low), float(high))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value, the bits in base64."""
        return {
            "samples": self.samples,
            "reference": base64.b64encode(self.reference).decode(),
            "candidate": base64.b64encode(self.candidate).decode(),
        }

    def _unpack(self, bits: bytes) -> Flags:
        return np.unpackbits(np.frombuffer(bits, np.uint8), count=self.samples).astype(bool)
