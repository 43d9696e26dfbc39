"""From a speech model's outputs to text: greedy CTC, token ids, or strings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bmopt.core.runner import Array
from bmopt.errors import DataError, UsageError

_PIECE = "\u2581"
"""What SentencePiece writes for the space before a word."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model's outputs count.

    Attributes:
        tokens: Token per index.
        blank: The index that CTC puts between tokens; in token ids, what fills up.
        space: The token between words, beside SentencePiece's mark.
    """

    tokens: tuple[str, ...]
    blank: int = 0
    space: str = "|"

    def text(self, ids: Array) -> str:
        """Return the text of token ids ``[tokens]``, without blanks.

        Raises:
            DataError: An id is not in the vocabulary.
        """
        kept = ids[ids != self.blank]
        outside = kept[(kept < 0) | (kept >= len(self.tokens))]
        if outside.size:
            raise DataError(
                f"token {outside[0]} is outside the vocabulary of {len(self.tokens)} tokens; "
                "check vocab= and blank="
            )
        written = (self.tokens[i] for i in kept)
        joined = "".join(" " if token == self.space else token for token in written)
        return " ".join(joined.replace(_PIECE, " ").split())

    def greedy(self, scores: Array) -> str:
        """Return the text of CTC scores ``[steps, tokens]``: the best token of each step.

        Repetitions are one token; a blank between two equal tokens keeps both (Graves et al.,
        2006).
        """
        best = np.argmax(scores, axis=1)
        changes = np.ones(best.size, dtype=bool)
        changes[1:] = best[1:] != best[:-1]
        return self.text(best[changes])


def load_vocabulary(file: str, blank: int, space: str) -> Vocabulary:
    """Read a token per line, or a JSON list or object (token -> index).

    A line's end is the token's end, so that a token may be a space.

    Raises:
        DataError: The file is missing or of another form.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
        tokens = _from_json(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: is no vocabulary, a token per line or JSON ({error})") from error
    if not tokens:
        raise DataError(f"{path}: holds no tokens; write one per line")
    return Vocabulary(tuple(tokens), blank, space)


def transcribed(
    output: Array, size: int, vocabulary: Vocabulary | None, layout: str, lengths: Array | None
) -> list[str]:
    """Return a text per sample.

    Args:
        output: Strings ``[samples]``, token ids ``[samples, tokens]``, or CTC scores
            ``[samples, steps, tokens]`` (``layout`` ntv) or ``[steps, samples, tokens]`` (tnv).
        size: How many samples there are.
        vocabulary: Needed for all but strings.
        layout: ``ntv`` or ``tnv``.
        lengths: Steps that count, ``[samples]``; all where None.

    Raises:
        UsageError: The output is something else, or there is no vocabulary for it.
    """
    if output.dtype.kind in "UO" and output.size == size:
        return [_as_text(each) for each in output.reshape(-1)]
    if vocabulary is None:
        raise UsageError("wer: outputs that are no strings need vocab=FILE, a token per line")
    rows = np.swapaxes(output, 0, 1) if layout == "tnv" and output.ndim == 3 else output
    if len(rows) != size or not _readable(rows):
        raise UsageError(
            f"wer: an output {output.dtype.name} {list(output.shape)} for {size} samples holds "
            "no strings, token ids [N, T] or scores [N, T, tokens]; choose output= and layout="
        )
    if rows.ndim == 3 and rows.shape[2] != len(vocabulary.tokens):
        raise UsageError(
            f"wer: scores of {rows.shape[2]} tokens and a vocabulary of "
            f"{len(vocabulary.tokens)}; the blank has a line in the file too"
        )
    ends = [None] * size if lengths is None else [int(n) for n in lengths.reshape(-1)[:size]]
    decode = vocabulary.greedy if rows.ndim == 3 else vocabulary.text
    return [decode(row[:end]) for row, end in zip(rows, ends, strict=True)]


def find_transcript(outputs: Mapping[str, Array], size: int) -> str | None:
    """Return the first output that can hold transcripts."""
    for name, output in outputs.items():
        strings = output.dtype.kind in "UO" and output.size == size
        if strings or _readable(output):
            return name
    return None


def _readable(output: Array) -> bool:
    scores = output.ndim == 3 and output.dtype.kind == "f"
    return scores or (output.ndim == 2 and output.dtype.kind in "iu")


def _as_text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _from_json(text: str) -> list[str]:
    document = json.loads(text)
    if isinstance(document, list):
        return [str(token) for token in document]
    if not isinstance(document, dict):
        raise TypeError("neither a list nor an object")
    by_index = {int(index): token for token, index in document.items()}
    return [by_index.get(index, "") for index in range(max(by_index, default=-1) + 1)]
