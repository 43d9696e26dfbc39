from __future__ import annotations

import numpy as np
import pytest

from bmopt.bench.metric_text import parse_metric
from bmopt.errors import DataError, UsageError

OUTPUTS = {"name": np.array(["a", "b"]), "y": np.array([[1.0], [4.0]], np.float32)}


@pytest.mark.parametrize(("text", "expected"), [("mse", 2.5), ("mae", 1.5), ("mse:output=y", 2.5)])
def test_by_hand(text: str, expected: float) -> None:
    metric = parse_metric(text).bound(OUTPUTS, 2)
    rows = metric.score(OUTPUTS, np.array([0, 2]), 2)
    assert metric.estimator(rows).value() == expected
    assert not metric.higher_is_better


def test_images_count_by_element() -> None:
    metric = parse_metric("mae").bound({"y": np.ones((3, 2, 2))}, 3)
    labels = np.zeros((3, 2, 2))
    labels[0] = 1.0
    rows = metric.score({"y": np.ones((3, 2, 2))}, labels, 3)
    assert rows["error"].tolist() == [0.0, 4.0, 4.0]
    assert metric.estimator(rows).value() == pytest.approx(2 / 3)


def test_what_does_not_fit_is_named() -> None:
    metric = parse_metric("mse").bound(OUTPUTS, 2)
    with pytest.raises(DataError, match="have 2 numbers a sample and output 'y' has 1"):
        metric.score(OUTPUTS, np.zeros((2, 2)), 2)
    with pytest.raises(DataError, match="mse must be numbers, not str"):
        metric.score(OUTPUTS, np.array(["a", "b"]), 2)
    with pytest.raises(UsageError, match=r"no output 'x' holds numbers for mse, a row per sample"):
        parse_metric("mse:output=x").bound(OUTPUTS, 2)
