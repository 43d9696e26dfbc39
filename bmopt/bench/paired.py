"""Right and wrong of two models on the same samples."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from bmopt.bench.bootstrap import Difference, summarised, unseen_share
from bmopt.bench.mcnemar import McNemar, mcnemar
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

    def mcnemar(self) -> McNemar:
        """Return McNemar's test."""
        return mcnemar(*self.discordant())

    def difference(self, *, confidence: float = 0.99, seed: int = 0) -> Interval:
        """Return a paired-bootstrap interval of candidate minus reference accuracy."""
        return self.bootstrap(confidence=confidence, seed=seed).change

    def bootstrap(self, *, confidence: float = 0.99, seed: int = 0) -> Difference:
        """Return paired-bootstrap intervals of what the candidate changed.

        Resampling the samples is drawing the numbers of wins, losses and ties from a
        multinomial. Half a win and half a loss are added, and the interval reaches at least as
        far as ``unseen_share``: no disagreement among few samples must not pass for none at all.
        """
        reference, candidate = self.flags()
        gained, lost = self.discordant()
        both = int(np.sum(reference & candidate))
        neither = self.samples - both - gained - lost
        weights = np.array([gained + 0.5, lost + 0.5, both, neither])
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(self.samples, weights / weights.sum(), _RESAMPLES)
        won, missed, shared = drawn[:, 0], drawn[:, 1], drawn[:, 2]
        values = np.stack([shared + missed, shared + won]) / self.samples
        means = (float(np.mean(reference)), float(np.mean(candidate)))
        floor = unseen_share(self.samples, confidence)
        return summarised(means, values, self.samples, floor, confidence)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value, the bits in base64."""
        return {
            "samples": self.samples,
            "reference": base64.b64encode(self.reference).decode(),
            "candidate": base64.b64encode(self.candidate).decode(),
        }

    def _unpack(self, bits: bytes) -> Flags:
        return np.unpackbits(np.frombuffer(bits, np.uint8), count=self.samples).astype(bool)
