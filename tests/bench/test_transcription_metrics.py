from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.edit_distance import edit_distance
from bmopt.bench.metric_text import parse_metric
from bmopt.core.runner import Array
from bmopt.errors import BmoptError, DataError, UsageError

TOKENS = ["_", "a", "b", "c", "|"]


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(TOKENS) + "\n")
    return file


def steps(text: str) -> Array:
    """Return CTC scores [steps, tokens] whose best tokens are those of ``text``."""
    return np.eye(len(TOKENS), dtype=np.float32)[[TOKENS.index(token) for token in text]]


def value(text: str, outputs: dict[str, Array], labels: list[str]) -> float:
    metric = parse_metric(text).bound(outputs, len(labels))
    rows = metric.score(outputs, np.array(labels), len(labels))
    return metric.estimator(rows).value()


def slow_distance(wanted: str, given: str) -> int:
    if not wanted or not given:
        return len(wanted) + len(given)
    return min(
        slow_distance(wanted[1:], given) + 1,
        slow_distance(wanted, given[1:]) + 1,
        slow_distance(wanted[1:], given[1:]) + (wanted[0] != given[0]),
    )


@given(wanted=st.text("ab", max_size=6), given_=st.text("abc", max_size=6))
def test_distance_is_the_recursive_definition(wanted: str, given_: str) -> None:
    assert edit_distance(wanted, given_) == slow_distance(wanted, given_)


def test_distance_by_hand() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance(["the", "cat", "sat"], ["a", "cat", "sat", "down"]) == 2
    assert edit_distance([], []) == 0


def test_greedy_ctc_collapses_and_keeps_what_a_blank_divides(vocab: Path) -> None:
    scores = np.stack([steps("aa_ab||c"), steps("_a|_bb__")])
    # "aab c" and "a b", against one substituted and one missing word.
    assert value(f"wer:vocab={vocab}", {"y": scores}, ["aab b", "a b c"]) == pytest.approx(2 / 5)
    assert value(f"cer:vocab={vocab}", {"y": scores}, ["aab c", "a b"]) == 0.0
    turned = np.swapaxes(scores, 0, 1)
    assert value(f"wer:vocab={vocab},layout=tnv", {"y": turned}, ["aab c", "a b"]) == 0.0


def test_lengths_cut_the_padding(vocab: Path) -> None:
    outputs = {"y": np.stack([steps("a_|b")]), "n": np.array([2])}
    assert value(f"wer:vocab={vocab},lengths=n", outputs, ["a"]) == 0.0
    assert value(f"wer:vocab={vocab}", outputs, ["a"]) == 1.0


def test_token_ids_and_strings(tmp_path: Path) -> None:
    file = tmp_path / "vocab.json"
    file.write_text('{"<pad>": 0, "\u2581he": 1, "llo": 2, "\u2581you": 3}')
    ids = {"y": np.array([[1, 2, 3, 0], [3, 3, 0, 0]])}
    assert value(f"wer:vocab={file}", ids, ["hello you", "you you"]) == 0.0
    texts = {"y": np.array(["Hello you", "you"], dtype=object)}
    assert value("wer", texts, ["hello you", "you"]) == pytest.approx(1 / 3)
    assert value("wer:case=ignore", texts, ["hello you", "you"]) == 0.0


def test_error_rates_are_better_low_and_count_words_not_samples() -> None:
    texts = {"y": np.array(["x", "a b c d e f g h i"])}
    assert value("wer", texts, ["y", "a b c d e f g h i"]) == pytest.approx(0.1)
    assert not parse_metric("wer").higher_is_better


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wer", "need vocab=FILE"),
        ("wer:vocab=none.txt", "is no vocabulary"),
        ("wer:output=x", "no output 'x' with transcripts; outputs are y float32"),
        ("wer:lengths=n,vocab=VOCAB", "has no output 'n'"),
        ("wer:layout=vtn", "choose ntv or tnv"),
        ("wer:case=upper", "choose keep or ignore"),
    ],
)
def test_what_does_not_fit_is_named(vocab: Path, text: str, message: str) -> None:
    with pytest.raises(BmoptError, match=message):
        value(text.replace("VOCAB", str(vocab)), {"y": steps("ab")[None]}, ["ab"])


def test_vocabulary_and_labels_must_fit(vocab: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="scores of 6 tokens and a vocabulary of 5"):
        value(f"wer:vocab={vocab}", {"y": np.zeros((1, 3, 6), np.float32)}, ["a"])
    with pytest.raises(UsageError, match="holds no strings, token ids"):
        value(f"wer:vocab={vocab},output=y", {"y": np.zeros((1, 3), np.float32)}, ["a"])
    with pytest.raises(DataError, match="token 9 is outside the vocabulary of 5"):
        value(f"wer:vocab={vocab}", {"y": np.array([[9]])}, ["a"])
    metric = parse_metric(f"wer:vocab={vocab}").bound({"y": steps("a")[None]}, 1)
    with pytest.raises(DataError, match="labels for wer must be texts"):
        metric.score({"y": steps("a")[None]}, np.array([3]), 1)
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match="holds no tokens"):
        value(f"wer:vocab={tmp_path / 'empty.txt'}", {"y": steps("a")[None]}, ["a"])
