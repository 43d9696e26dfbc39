"""Word and character error rate of speech and text recognisers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from bmopt.bench.edit_distance import edit_distance
from bmopt.bench.metric import Estimator, Metric, Rows, ratio_of_sums, required
from bmopt.bench.transcripts import Vocabulary, find_transcript, load_vocabulary, transcribed
from bmopt.core.runner import Array
from bmopt.errors import DataError, UsageError


@dataclasses.dataclass(frozen=True)
class WordErrorRate(Metric):
    """Word edits from the labels' texts over the number of their words, all samples together.

    Labels are texts: strings with the data, or ``labels=FILE.txt`` with a line per sample.

    Attributes:
        vocab: A token per line, or JSON; for outputs that are scores or token ids.
        blank: Index of CTC's blank, or of what fills up token ids.
        space: The token between words.
        layout: Of scores: ``ntv`` is [samples, steps, tokens], ``tnv`` [steps, samples, tokens].
        lengths: The output with the number of steps that count.
        case: ``keep`` or ``ignore``.
    """

    vocab: str | None = None
    blank: int = 0
    space: str = "|"
    layout: str = "ntv"
    lengths: str | None = None
    case: str = "keep"

    kind: ClassVar[str] = "wer"

    def __post_init__(self) -> None:
        """Check the options that have few values."""
        if self.layout not in ("ntv", "tnv"):
            raise UsageError(f"{self.kind}: layout={self.layout}: choose ntv or tnv")
        if self.case not in ("keep", "ignore"):
            raise UsageError(f"{self.kind}: case={self.case}: choose keep or ignore")

    @property
    def higher_is_better(self) -> bool:
        """An error is better low."""
        return False

    def bound(self, outputs: Mapping[str, Array], size: int) -> Metric:
        """Choose the first output with strings, token ids or scores."""
        output = self.output or find_transcript(outputs, size)
        if output is None or output not in outputs:
            known = ", ".join(f"{n} {a.dtype.name} {list(a.shape)}" for n, a in outputs.items())
            raise UsageError(
                f"{self.kind}: no output {self.output or ''!r} with transcripts; outputs are "
                f"{known}"
            )
        return dataclasses.replace(self, output=output)

    def score(self, outputs: Mapping[str, Array], labels: Array | None, size: int) -> Rows:
        """Return ``edits`` and ``length``: int64 ``[samples]``."""
        wanted = self._wanted(required(labels, self.name))
        names = [name for name in (self.output, self.lengths) if name is not None]
        missing = [name for name in names if name not in outputs]
        if missing:
            raise UsageError(f"{self.kind}: the model has no output {missing[0]!r}")
        lengths = None if self.lengths is None else outputs[self.lengths]
        output = outputs[self.output or ""]
        given = transcribed(output, size, self._vocabulary, self.layout, lengths)
        pairs = [(self._units(w), self._units(g)) for w, g in zip(wanted, given, strict=True)]
        return {
            "edits": np.array([edit_distance(w, g) for w, g in pairs], dtype=np.int64),
            "length": np.array([len(w) for w, _ in pairs], dtype=np.int64),
        }

    def estimator(self, rows: Rows) -> Estimator:
        """Return all edits over all words."""
        return ratio_of_sums(rows["edits"], rows["length"])

    def parts(self, text: str) -> Sequence[str]:
        """Return what is counted of a text."""
        return text.split()

    def _units(self, text: str) -> Sequence[str]:
        return self.parts(text.lower() if self.case == "ignore" else text)

    def _wanted(self, labels: Array) -> list[str]:
        texts = labels.reshape(-1).tolist()
        if not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"labels for {self.name} must be texts; give labels=FILE.txt with a line a sample"
            )
        return texts

    @cached_property
    def _vocabulary(self) -> Vocabulary | None:
        if self.vocab is None:
            return None
        return load_vocabulary(self.vocab, self.blank, self.space)


@dataclasses.dataclass(frozen=True)
class CharacterErrorRate(WordErrorRate):
    """Character edits over the number of characters; options are those of ``wer``."""

    kind: ClassVar[str] = "cer"

    def parts(self, text: str) -> Sequence[str]:
        """Return the characters, with one space between words."""
        return " ".join(text.split())
