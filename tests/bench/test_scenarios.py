from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

from bmopt.bench.query_pool import concatenation, queries_of
from bmopt.bench.scenario_summary import summary
from bmopt.bench.scenarios import ScenarioInterrupted, run_scenario
from bmopt.core.dataset import InputSpec
from bmopt.core.scenario import (
    FAILED,
    HUNG,
    INTERRUPTED,
    LATE,
    MEASURE,
    WARM_UP,
    ScenarioRun,
    ScenarioSettings,
    Trial,
)
from bmopt.errors import ArtifactError, DataError, UsageError
from tests.bench.load_engines import MS, Engine, Script, samples
from tests.bench.test_real_engine import chain

BATCH = concatenation([InputSpec("x", "float32", ("n", 3))])


def measured(run: ScenarioRun) -> Trial:
    (trial,) = [trial for trial in run.trials if trial.role == MEASURE]
    return trial


def test_single_stream_sends_one_query_after_the_other() -> None:
    run = Script(lambda i: 1.0 + i % 10).run(ScenarioSettings("single-stream", duration_s=1.0))
    trial = measured(run)
    assert trial.scheduled_ns == trial.start_ns
    assert trial.start_ns[1:] == trial.end_ns[:-1]
    assert 1e9 <= trial.end_ns[-1] <= 1.02e9
    found = summary(run)
    assert (found.metric, found.value, found.valid) == ("p90 latency", 10 * MS, True)
    assert found.upper == 10 * MS
    assert found.text == "p90 latency 10 ms"


def test_it_goes_on_until_enough_queries_ran() -> None:
    run = Script(lambda _: 50.0).run(ScenarioSettings("single-stream", duration_s=1.0))
    assert len(measured(run).end_ns) == 64
    assert summary(run).valid


def test_time_that_is_up_leaves_too_few_queries_and_says_so() -> None:
    settings = ScenarioSettings("multi-stream", duration_s=2.0, max_duration_s=20.0)
    run = Script(lambda _: 10.0).run(settings)
    trial = measured(run)
    assert trial.ending == LATE
    found = summary(run)
    assert found.value is None
    assert not found.valid
    assert found.reasons == (
        f"662 queries were to run, {len(trial.end_ns)} did",
        f"p99 needs 459 queries, {len(trial.end_ns)} ran",
    )
    assert 200 < len(trial.end_ns) < 250
    assert found.percentiles[0].value == 80 * MS


def test_multi_stream_counts_the_latency_of_the_query() -> None:
    script = Script(lambda _: 1.0)
    run = script.run(ScenarioSettings("multi-stream", duration_s=1.0))
    assert not run.batched
    assert set(script.engine.fed) == {1}
    assert measured(run).samples_per_query == 8
    assert summary(run).value == 8 * MS
    assert len(script.engine.fed) == 8 * sum(len(trial.end_ns) for trial in run.trials)


def test_multi_stream_runs_a_batch_where_the_model_takes_one() -> None:
    script = Script(lambda _: 3.0)
    run = script.run(ScenarioSettings("multi-stream", duration_s=1.0), batch_of=BATCH)
    assert run.batched
    assert set(script.engine.fed) == {8}
    assert summary(run).value == 3 * MS


def test_offline_is_all_samples_at_once() -> None:
    script = Script(lambda _: 4.0)
    run = script.run(ScenarioSettings("offline", duration_s=2.0), batch_of=BATCH)
    trial = measured(run)
    assert set(trial.scheduled_ns) == {0}
    assert trial.planned == len(trial.end_ns) == 550
    found = summary(run)
    assert (found.unit, found.valid) == ("samples/s", True)
    assert found.value == pytest.approx(8 / 0.004)
    assert trial.end_ns[-1] == 550 * 4 * MS


def test_offline_faster_than_it_warmed_up_is_too_short() -> None:
    run = Script(lambda i: 4.0 if i < 100 else 1.0).run(
        ScenarioSettings("offline", duration_s=2.0, samples_per_query=1)
    )
    found = summary(run)
    assert not found.valid
    assert "of 2 s; measure again" in found.text
    assert found.value == pytest.approx(1000.0, rel=0.3)


def test_queries_use_every_sample_in_rotation() -> None:
    queries, batched = queries_of(samples(5), 2, BATCH)
    fed = [query[0]["x"][:, 0].tolist() for query in queries]
    assert batched
    assert fed == [[0, 1], [2, 3], [4, 0]]


def test_samples_that_cannot_be_joined_run_one_by_one() -> None:
    fixed = concatenation([InputSpec("x", "float32", (1, 3))])
    assert queries_of(samples(4), 2, fixed)[1] is False
    ragged = [{"x": np.zeros((1, width), np.float32)} for width in (3, 3, 3, 4)]
    queries, batched = queries_of(ragged, 2, BATCH)
    assert not batched
    assert [len(query) for query in queries] == [2, 2]


def test_an_engine_that_raises_is_named_and_its_samples_are_kept() -> None:
    def took(index: int) -> float:
        if index == 150:
            raise RuntimeError("CUDA error 700:\nillegal address")
        return 10.0

    run = Script(took).run(ScenarioSettings("single-stream", duration_s=10.0))
    trial = measured(run)
    assert trial.ending == FAILED
    warm = len(run.trials[0].end_ns)
    assert len(trial.end_ns) == 150 - warm
    assert run.failure == (
        f"A: single-stream: measure: query {150 - warm} failed (CUDA error 700: illegal address); "
        f"{150 - warm} queries had ended"
    )
    found = summary(run)
    assert (found.value, found.valid, found.reasons) == (10 * MS, False, (run.failure,))


def test_inputs_that_do_not_fit_end_the_warm_up() -> None:
    def took(index: int) -> float:
        raise DataError("input x must be float32 [1, 4]; give such samples")

    run = Script(took).run(ScenarioSettings("offline"))
    assert [trial.role for trial in run.trials] == [WARM_UP]
    assert "warm-up: query 0 failed (input x must be" in run.failure
    assert summary(run).value is None


def test_a_bug_keeps_its_traceback() -> None:
    def took(index: int) -> float:
        raise KeyError(index)

    with pytest.raises(KeyError):
        Script(took).run(ScenarioSettings("single-stream"))


def test_an_engine_that_hangs_is_left_behind() -> None:
    let_go = threading.Event()
    engine = Engine(lambda i: let_go.wait(60.0) if i == 40 else None)
    settings = ScenarioSettings(
        "single-stream", duration_s=0.01, min_queries=1_000_000_000, timeout_s=0.5
    )
    run = run_scenario("A", [engine], samples(), settings, clock=Ticks())
    let_go.set()
    assert [trial.ending for trial in run.trials][-1] == HUNG
    assert "has not ended after 0.5 s" in run.failure
    assert sum(len(trial.end_ns) for trial in run.trials) == 40
    assert len(measured(run).end_ns) > 30


class Ticks:
    """A clock that the real time of a hang does not move."""

    def __init__(self) -> None:
        self._now = 0

    def __call__(self) -> int:
        self._now += 50_000
        return self._now


def test_ctrl_c_leaves_the_queries_that_ended() -> None:
    main = threading.main_thread().ident
    assert main is not None

    def act(index: int) -> None:
        if index == 60:
            signal.pthread_kill(main, signal.SIGINT)
            threading.Event().wait(0.2)

    settings = ScenarioSettings("single-stream", duration_s=0.01, min_queries=1_000_000_000)
    with pytest.raises(KeyboardInterrupt) as caught:
        run_scenario("A", [Engine(act)], samples(), settings, clock=Ticks())
    assert isinstance(caught.value, ScenarioInterrupted)
    run = caught.value.run
    assert run.trials[-1].ending == INTERRUPTED
    assert "interrupted" in run.failure
    # The one under way was waited for.
    assert sum(len(trial.end_ns) for trial in run.trials) >= 61


def test_a_record_survives_json() -> None:
    for scenario in ("single-stream", "multi-stream", "offline"):
        run = Script(lambda i: 1.0 + i % 3).run(ScenarioSettings(scenario, duration_s=0.5))
        back = ScenarioRun.from_json(run.to_json())
        assert back == run
        assert summary(back) == summary(run)
    assert summary(run).to_dict()["scenario"] == "offline"


def test_an_empty_record_survives_json() -> None:
    run = ScenarioRun("A", ScenarioSettings("server"), (Trial(WARM_UP, (), (), ()),), failure="x")
    assert ScenarioRun.from_json(run.to_json()) == run
    assert summary(run).text == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is no record"),
        ('{"bmopt_scenario": 9}', "version 9"),
        ('{"bmopt_scenario": 1, "trials": []}', "lacks a field"),
        (
            '{"bmopt_scenario": 1, "subject": "A", "settings": {"scenario": "x"}, "trials": []}',
            "does not exist",
        ),
        ('{"bmopt_scenario": 1, "trials": [{"role": "measure"}]}', "queries"),
    ],
)
def test_bad_records_are_refused(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        ScenarioRun.from_json(text)


@pytest.mark.parametrize(
    ("scenario", "values", "message"),
    [
        ("burst", {}, "choose one of single-stream"),
        ("server", {"duration_s": -1.0}, "duration_s"),
        ("server", {"quantile": 1.5}, "quantile"),
        ("server", {"seed": -1}, "seed"),
        ("server", {"samples_per_query": 4}, "samples_per_query=4"),
        ("multi-stream", {"concurrency": 2}, "concurrency=2"),
    ],
)
def test_bad_settings_are_refused(scenario: str, values: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ScenarioSettings(scenario, **values)


def test_what_does_not_fit_together_is_refused() -> None:
    engine = Engine(lambda _: None)
    with pytest.raises(UsageError, match="give one per worker"):
        run_scenario("A", [engine], samples(), ScenarioSettings("server", concurrency=2))
    with pytest.raises(DataError, match="at least one sample"):
        run_scenario("A", [engine], [], ScenarioSettings("server"))
    with pytest.raises(UsageError, match="give a multiple"):
        run_scenario(
            "A", [engine], samples(), ScenarioSettings("multi-stream"), samples_per_feed=3
        )


def test_on_onnx_runtime() -> None:
    feeds = [{"x": np.full((1, 64), i, np.float32)} for i in range(6)]
    batch_of = concatenation([InputSpec("x", "float32", ("N", 64))])
    for scenario in ("single-stream", "multi-stream", "offline"):
        settings = ScenarioSettings(scenario, duration_s=0.2)
        found = summary(run_scenario("A", [chain(6)], feeds, settings, batch_of=batch_of))
        assert found.value is not None
        assert found.value > 0.0
