"""What intervals allow to say, in sentences."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from bmopt.bench.quantities import NONE, amount, digits, percent, points, ratio_text
from bmopt.bench.statistics import RatioEstimate
from bmopt.core.bench_document import Accuracy, GateLine, Subject

Tone = Literal["good", "bad", "same", "open"]

_TONES: dict[str, Tone] = {
    "faster": "good",
    "slower": "bad",
    "equivalent": "same",
    "undecided": "open",
    "passed": "good",
    "failed": "bad",
}
_WORST_FIRST = ("failed", "undecided", "passed")


@dataclasses.dataclass(frozen=True)
class Statement:
    """A verdict in a word, and the numbers behind it in a sentence."""

    word: str
    tone: Tone
    sentence: str


def latency_statement(
    candidate: str, reference: str, found: RatioEstimate, confidence: float
) -> Statement:
    """Return what a ratio of latencies says of the candidate."""
    numbers = f"{ratio_text(found.ratio)} times its latency, {interval_text(found, confidence)}"
    texts = {
        "faster": f"{candidate} is {digits(1 / found.ratio)} times as fast as {reference}: "
        f"{numbers}.",
        "slower": f"{candidate} is slower than {reference}: {numbers}.",
        "equivalent": f"{candidate} and {reference} take the same time: {numbers}, which contains "
        "1 and is as narrow as asked for.",
        "undecided": f"whether {candidate} is faster than {reference} is undecided: {numbers}, "
        "which contains 1; a longer run may tell.",
    }
    return Statement(found.verdict, _TONES[found.verdict], texts[found.verdict])


def interval_text(found: RatioEstimate, confidence: float) -> str:
    """Return the interval of a ratio, or that there is none."""
    if not math.isfinite(found.high):
        return f"too few turns ({found.pairs // 2}) for an interval"
    ends = f"{ratio_text(found.low)} to {ratio_text(found.high)}"
    return f"{100 * confidence:g} % interval {ends}"


def accuracy_statement(found: Accuracy) -> Statement:
    """Return what the same samples say of a metric."""
    value = score_text(found, found.candidate)
    samples = f"{found.samples} samples"
    if found.reference is None:
        return Statement(found.metric, "open", f"{found.metric} {value} on {samples}.")
    both = f"{found.metric} {value} beside {score_text(found, found.reference)} on {samples}"
    if found.difference is None:
        return Statement(
            "no interval",
            "open",
            f"{both}; {found.note or 'how sure the difference is was not told'}.",
        )
    word, tone = _direction(found)
    return Statement(
        word, tone, f"{both}; 99 % interval of the difference {difference_text(found)}."
    )


def size_statement(subject: Subject, reference: Subject) -> Statement | None:
    """Return how large a subject is beside the reference; None where either is not known."""
    if not subject.size_bytes or not reference.size_bytes:
        return None
    share = subject.size_bytes / reference.size_bytes
    sizes = f"{amount(subject.size_bytes, 'B')} instead of {amount(reference.size_bytes, 'B')}"
    word = "smaller" if share < 1 else "larger" if share > 1 else "same size"
    tone: Tone = "good" if share < 1 else "bad" if share > 1 else "same"
    return Statement(word, tone, f"size {sizes}, {percent(share, 1)} of it.")


def failure_statement(subject: Subject) -> Statement:
    """Return why a subject has no results, or only some."""
    return Statement("failed", "bad", subject.error)


def gate_statement(line: GateLine) -> Statement:
    """Return what became of one condition."""
    return Statement(line.outcome, _TONES.get(line.outcome, "open"), line.text)


def gate_verdict(lines: Sequence[GateLine]) -> Statement:
    """Return what became of all conditions: the worst outcome, and how many of each."""
    counts = Counter(line.outcome for line in lines)
    word = next((name for name in _WORST_FIRST if counts[name]), "undecided")
    told = ", ".join(f"{counts[name]} {name}" for name in reversed(_WORST_FIRST) if counts[name])
    conditions = "1 condition" if len(lines) == 1 else f"{len(lines)} conditions"
    return Statement(word, _TONES[word], f"{conditions}: {told}.")


def noise_sentence(found: RatioEstimate, confidence: float) -> str:
    """Return how far two copies of the same model were apart, and what that means."""
    said = {
        "equivalent": "as it should be: no difference.",
        "undecided": "no difference, but the run was too short or the host too busy to say it "
        "as sharply as asked for.",
    }.get(found.verdict, "a difference that is not there: do not trust differences of this size.")
    text = f"The same model twice, measured in the same way: ratio {ratio_text(found.ratio)}"
    return f"{text}, {interval_text(found, confidence)}; {said}"


def difference_text(found: Accuracy) -> str:
    """Return the interval of a metric's difference."""
    if found.difference is None:
        return NONE
    low, high = (change_text(found, end) for end in (found.difference.low, found.difference.high))
    return f"{low} to {high}{' points' if found.fraction else ''}"


def change_text(found: Accuracy, change: float) -> str:
    """Return an end of an interval of a difference: percentage points of fractions."""
    if found.fraction:
        return points(change)
    return f"{'+' if change >= 0 else ''}{digits(change)}"


def score_text(found: Accuracy, value: float | None) -> str:
    """Return a value of a metric."""
    if value is None:
        return NONE
    return percent(value) if found.fraction else digits(value)


def _direction(found: Accuracy) -> tuple[str, Tone]:
    assert found.difference is not None
    low, high = found.difference.low, found.difference.high
    if low <= 0.0 <= high:
        return "no difference shown", "same"
    better = (low > 0.0) == found.higher_is_better
    return ("better", "good") if better else ("worse", "bad")
