from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from bmopt.bench.arrivals import poisson_schedule
from bmopt.bench.scenario_summary import summary
from bmopt.bench.scenarios import run_scenario
from bmopt.bench.trial_rules import latencies_ns
from bmopt.core.scenario import (
    CONFIRM,
    FAILED,
    HOPELESS,
    HUNG,
    SEARCH,
    ScenarioRun,
    ScenarioSettings,
)
from tests.bench.load_engines import MS, Engine, Script, samples
from tests.bench.test_real_engine import chain


def stalling(index: int) -> float:
    """Answer in 1 ms, but for one stall of 200 ms."""
    return 200.0 if index == 3000 else 1.0


def test_a_stall_shows_in_the_open_loop_and_hides_in_the_closed_one() -> None:
    server = ScenarioSettings("server", duration_s=10.0, target_qps=500.0)
    opened = summary(Script(stalling).run(server))
    closed = summary(Script(stalling).run(ScenarioSettings("single-stream", duration_s=10.0)))
    p99 = {name: {p.name: p.value for p in found.percentiles}["p99"]
           for name, found in (("open", opened), ("closed", closed))}  # fmt: skip
    assert p99["closed"] == 1 * MS
    assert p99["open"] is not None
    assert p99["open"] > 100 * MS
    assert not opened.valid
    assert opened.reasons[0].startswith("p99 is above 100 ms at 500 queries/s")
    # Without the stall the same load is nothing.
    calm = summary(Script(lambda _: 1.0).run(server))
    assert calm.valid
    assert {p.name: p.value for p in calm.percentiles}["p99"] < 10 * MS


def test_latency_counts_from_when_the_query_was_due() -> None:
    settings = ScenarioSettings("server", duration_s=2.0, target_qps=500.0, seed=3)
    run = Script(lambda _: 1.5).run(settings)
    trial = run.trials[-1]
    due = poisson_schedule(500.0, duration_s=2.0, min_queries=662, seed=3)
    np.testing.assert_array_equal(trial.scheduled_ns, due)
    np.testing.assert_allclose(latencies_ns(trial), sojourn(due / 1e6, 1.5) * MS, atol=10)
    assert np.any(np.asarray(trial.start_ns) > due)


def sojourn(due_ms: np.ndarray, service_ms: float) -> np.ndarray:
    """Lindley's recursion for one server with a fixed service time, all at once."""
    work = service_ms * np.arange(1, due_ms.size + 1)
    return work + np.maximum.accumulate(due_ms - work + service_ms) - due_ms


def capacity(service_ms: float, bound_ms: float) -> float:
    """Return the rate per second at which p99 of a very long run is the bound."""
    gaps = np.random.default_rng(99).exponential(size=1_000_000)
    low, high = 0.1 / service_ms, 1.0 / service_ms
    while high / low > 1.001:
        rate = (low + high) / 2.0
        p99 = np.quantile(sojourn(np.cumsum(gaps) / rate, service_ms), 0.99)
        low, high = (rate, high) if p99 <= bound_ms else (low, rate)
    return 1000.0 * low


@pytest.mark.parametrize(
    ("service_ms", "bound_ms", "seed"), [(1.0, 50.0, 0), (1.0, 6.0, 1), (4.0, 100.0, 2)]
)
def test_the_search_finds_the_rate_that_holds(
    service_ms: float, bound_ms: float, seed: int
) -> None:
    settings = ScenarioSettings(
        "server", duration_s=40.0 * service_ms, target_latency_ms=bound_ms, seed=seed
    )
    run = Script(lambda _: service_ms).run(settings)
    found = summary(run)
    assert found.valid
    assert not found.notes
    assert found.value == pytest.approx(capacity(service_ms, bound_ms), rel=0.05)
    assert found.trials[-1].role == CONFIRM
    assert found.trials[-1].passed
    assert sum(trial.role == SEARCH for trial in found.trials) <= 10
    assert found.text.startswith(f"rate with p99 <= {bound_ms:g} ms ")
    assert ScenarioRun.from_json(run.to_json()) == run


def test_a_rate_that_cannot_hold_is_given_up_early() -> None:
    settings = ScenarioSettings("server", duration_s=10.0, target_qps=2000.0, target_latency_ms=20)
    trial = Script(lambda _: 1.0).run(settings).trials[-1]
    assert trial.ending == HOPELESS
    assert trial.planned >= 20_000
    assert len(trial.end_ns) < 1000


def test_an_engine_slower_than_the_bound_holds_no_rate() -> None:
    settings = ScenarioSettings("server", duration_s=5.0, target_latency_ms=10.0)
    found = summary(Script(lambda _: 12.0).run(settings))
    assert (found.value, found.valid) == (None, False)
    assert found.text.startswith("p99 is above 10 ms at ")


def test_a_search_without_time_says_so() -> None:
    settings = ScenarioSettings("server", duration_s=10.0, max_duration_s=5.0)
    found = summary(Script(lambda _: 1.0).run(settings))
    assert found.text == "the time was up before the first trial; give a longer max_duration_s"


def test_a_search_cut_short_says_that_the_rate_may_be_higher() -> None:
    settings = ScenarioSettings("server", duration_s=10.0, max_duration_s=17.0)
    found = summary(Script(lambda _: 1.0).run(settings))
    assert found.valid
    assert found.notes == ("the search stayed coarse: the highest rate may be higher",)


def test_an_engine_that_slows_down_after_the_search_is_confirmed_further_down() -> None:
    """Throttling halves the capacity when the search is over."""
    settings = ScenarioSettings("server", duration_s=10.0, target_latency_ms=50.0)
    before = summary(Script(lambda _: 1.0).run(settings))
    searched = sum(trial.ran for trial in before.trials if trial.role == SEARCH)
    script = Script(lambda i: 1.0 if i < searched + 500 else 2.0)
    found = summary(script.run(settings))
    assert found.valid
    assert found.value is not None
    assert 0.3 * capacity(1.0, 50.0) < found.value < 0.5 * capacity(1.0, 50.0)
    assert found.notes
    assert not found.trials[-2].passed


def test_an_engine_that_fails_in_the_search_leaves_the_trials_before() -> None:
    def took(index: int) -> float:
        if index == 5000:
            raise MemoryError
        return 1.0

    run = Script(took).run(ScenarioSettings("server", duration_s=10.0))
    assert run.trials[-1].ending == FAILED
    assert run.trials[-1].end_ns
    assert sum(len(trial.end_ns) for trial in run.trials) == 5000
    assert "(MemoryError)" in run.failure
    found = summary(run)
    assert found.reasons == (run.failure,)
    assert found.trials[0].passed


def test_workers_answer_side_by_side() -> None:
    """Two workers that sleep 20 ms each hold a load that one of them cannot."""
    load = {"duration_s": 0.5, "target_qps": 66.0, "min_queries": 33}

    def waits_ms(workers: int) -> float:
        settings = ScenarioSettings(
            "server", concurrency=workers, target_latency_ms=1e4, **load
        )  # fmt: skip
        engines = [Engine(lambda _: time.sleep(0.02)) for _ in range(workers)]
        trial = run_scenario("A", engines, samples(), settings).trials[-1]
        assert len(trial.end_ns) == trial.planned
        assert all(engine.fed for engine in engines)
        waits = np.asarray(trial.start_ns) - np.asarray(trial.scheduled_ns)
        return float(np.mean(waits)) / MS

    assert waits_ms(3) < 0.5 * waits_ms(1)


def test_one_worker_that_hangs_ends_the_run_of_all() -> None:
    let_go = threading.Event()
    engines = [
        Engine(lambda i: let_go.wait(60.0) if i == 20 else time.sleep(0.001)),
        Engine(lambda _: time.sleep(0.001)),
    ]
    settings = ScenarioSettings(
        "server", duration_s=30.0, target_qps=200.0, concurrency=2, timeout_s=0.5
    )
    begun = time.monotonic()
    run = run_scenario("A", engines, samples(), settings)
    let_go.set()
    assert time.monotonic() - begun < 15.0
    assert run.trials[-1].ending == HUNG
    assert "has not ended" in run.failure
    assert any(trial.end_ns for trial in run.trials)


def test_on_onnx_runtime() -> None:
    feeds = [{"x": np.full((1, 64), i, np.float32)} for i in range(6)]
    settings = ScenarioSettings("server", duration_s=0.3, target_qps=300.0, concurrency=2)
    engine = chain(4)
    run = run_scenario("A", [engine, engine], feeds, settings)
    assert not run.failure
    assert run.trials[-1].planned == len(run.trials[-1].end_ns) >= 662
    assert summary(run).percentiles[0].value is not None
