from __future__ import annotations

from typing import Any

import pytest

from bmopt.core.scenario import OFFLINE, SERVER, SINGLE_STREAM
from bmopt.errors import UsageError
from bmopt.workflow.benching.options import BenchOptions


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"duration_s": 0.0}, "duration_s=0.0: give a number above 0"),
        ({"precision": float("nan")}, "precision=nan"),
        ({"timeout_s": float("inf")}, "timeout_s=inf"),
        ({"only": ("speed",)}, "no section 'speed'; sections are latency, accuracy"),
        ({"metrics": ("top-1",)}, "top1"),
        ({"fail_if": "p50"}, "write NAME CHANGE"),
        ({"scenarios": ("burst",)}, "'burst' does not exist"),
        ({"scenarios": (SERVER,), "concurrency": 0}, "concurrency=0"),
    ],
)
def test_nonsense_is_refused_before_a_model_is_opened(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        BenchOptions(**given)


def test_scenarios_take_the_options_that_are_theirs() -> None:
    options = BenchOptions(
        scenarios=(SINGLE_STREAM, OFFLINE, SERVER),
        duration_s=3.0,
        target_latency_ms=7.0,
        concurrency=2,
        samples_per_query=4,
    )
    single, offline, server = options.scenario_settings()
    assert (single.concurrency, single.samples_per_query) == (1, 1)
    assert (offline.concurrency, offline.samples_per_query) == (2, 4)
    assert (server.concurrency, server.samples_per_query) == (2, 1)
    assert server.target_latency_ms == 7.0
    assert {one.duration_s for one in (single, offline, server)} == {3.0}
