"""Metrics that compare with the reference's outputs, in a benchmark's document."""

from __future__ import annotations

import numpy as np
import pytest

from bmopt.bench.metric_text import parse_metric
from bmopt.bench.scoring import compare_models
from bmopt.core.bench_document import Accuracy
from bmopt.workflow.benching.accuracy import _row
from tests.bench.synthetic import Arrays, Function

X = np.random.default_rng(5).normal(size=(40, 6)).astype(np.float32)


@pytest.mark.parametrize("metric", ["sqnr", "cosine", "agreement"])
def test_they_have_a_value_and_no_reference(metric: str) -> None:
    """The reference's decibels are infinite, which no chart can place."""
    rough = Function(lambda x: {"scores": np.round(x)})
    runners = {"fp32": Function(lambda x: {"scores": x}), "rough": rough}
    found = compare_models(runners, Arrays(X), 8, [parse_metric(metric)])
    row: Accuracy = _row("rough", found.comparisons("rough")[0])
    assert (row.metric, row.samples) == (metric, 40)
    assert (row.reference, row.difference, row.p_value) == (None, None, None)
    assert np.isfinite(row.candidate)
