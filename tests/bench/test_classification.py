from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.classification import feed_rows, ranks, scores_of, unpadded
from bmopt.core.dataset import Batch
from bmopt.errors import DataError


@given(seed=st.integers(0, 2**31), count=st.integers(1, 20), classes=st.integers(2, 9))
def test_ranks_are_places_in_a_stable_descending_sort(seed: int, count: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, size=(count, classes)).astype(np.float32)
    labels = generator.integers(0, classes, size=count)
    places = np.argsort(-scores, axis=1, kind="stable")
    expected = np.nonzero(places == labels[:, None])[1]
    assert ranks(scores, labels).tolist() == expected.tolist()
    assert ((ranks(scores, labels) == 0) == (np.argmax(scores, axis=1) == labels)).all()


def test_a_score_that_is_not_a_number_is_never_right() -> None:
    scores = np.array([[np.nan, 1.0, 2.0], [np.nan, 1.0, 2.0], [np.nan] * 3], np.float32)
    assert ranks(scores, np.array([0, 2, 1])).tolist() == [3, 0, 3]


def test_labels_need_one_number_a_sample() -> None:
    with pytest.raises(DataError, match="for 2 samples"):
        ranks(np.zeros((2, 3)), np.zeros((2, 1), np.int64))


def test_padding_is_cut_only_where_rows_follow_the_feeds() -> None:
    batch = Batch({"scale": np.array(1.0), "x": np.zeros((8, 3))}, size=5)
    assert feed_rows(batch) == 8
    assert unpadded(np.zeros((8, 2)), batch).shape == (5, 2)
    assert unpadded(np.zeros((16, 2)), batch).shape == (16, 2)
    assert unpadded(np.zeros(()), batch).shape == ()
    assert unpadded(np.zeros((8, 2)), Batch(batch.feeds, size=8)).shape == (8, 2)


def test_bfloat16_scores_become_float32() -> None:
    found = scores_of(np.ones((2, 3), ml_dtypes.bfloat16), 2)
    assert found is not None
    assert found.dtype == np.float32
