from __future__ import annotations

import dataclasses

import pytest

from bmopt.bench.noise import NoiseFloor
from bmopt.bench.statistics import RatioEstimate
from bmopt.bench.trust import warnings_of
from bmopt.core.measurement import Block, Environment, Fact, Measurement, Settings

CALM: dict[str, Fact] = {
    "cpu.logical_cores": 8,
    "cpu.affinity": 4,
    "cpu.quota": None,
    "cpu.governor": "performance",
    "threads.intra_op": 2,
    "load.average_before": 0.5,
    "load.average_after": 2.0,
    "load.steal_percent": 0.0,
}
READINGS = {"cpu.frequency_mhz": 2000.0, "cpu.steal_ticks": 0.0, "cpu.total_ticks": 20.0}


def measured(
    facts: dict[str, Fact] | None = None,
    readings: list[dict[str, float]] | None = None,
    turns: int = 10,
) -> Measurement:
    given = readings or [READINGS]
    blocks = tuple(
        Block("ab"[i % 2], i, (0,), (1000,), given[i % len(given)]) for i in range(4 * turns)
    )
    environment = Environment({**CALM, **(facts or {})})
    return Measurement(("a", "b"), blocks, environment, Settings(precision=0.02))


def floor(low: float, high: float, verdict: str) -> NoiseFloor:
    return NoiseFloor(RatioEstimate(1.0, low, high, verdict, 20))  # type: ignore[arg-type]


def test_a_calm_host_is_trusted() -> None:
    assert warnings_of(measured()) == ()
    assert warnings_of(measured(), floor=floor(0.995, 1.005, "equivalent")) == ()
    assert warnings_of(dataclasses.replace(measured(), environment=Environment({}))) == ()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {"cpu.governor": "powersave"},
            (
                "the frequency governor is powersave: as root, cpupower frequency-set --governor "
                "performance"
            ),
        ),
        (
            {"load.average_before": 5.5},
            "other work kept 5.5 tasks busy on 4 CPUs: stop it, or give --duration more time",
        ),
        (
            {"load.average_after": 6.5},
            "other work kept 4.5 tasks busy on 4 CPUs: stop it, or give --duration more time",
        ),
        ({"threads.intra_op": 6}, "6 threads on 4 CPUs: give --threads 4"),
        ({"cpu.quota": 1.5}, "2 threads on 1.5 CPUs: give --threads 1"),
    ],
)
def test_facts_that_make_it_untrustworthy(facts: dict[str, Fact], expected: str) -> None:
    assert warnings_of(measured(facts)) == (expected,)
    assert warnings_of(measured(), Environment({**CALM, **facts})) == (expected,)


def test_limits_themselves_are_fine() -> None:
    facts: dict[str, Fact] = {"threads.intra_op": 4, "load.average_before": 4.0}
    steal = [{**READINGS, "cpu.steal_ticks": 1.0, "cpu.total_ticks": 100.0}]
    assert warnings_of(measured(facts, steal)) == ()
    clock = [READINGS, {**READINGS, "cpu.frequency_mhz": 2099.0}]
    assert warnings_of(measured(facts, clock)) == ()
    assert warnings_of(measured(turns=8)) == ()


def test_steal_is_summed_over_the_blocks() -> None:
    readings = [{**READINGS, "cpu.steal_ticks": 0.0}] * 3 + [{**READINGS, "cpu.steal_ticks": 1.0}]
    (line,) = warnings_of(measured(readings=readings))
    assert line.startswith("other guests of this machine took 1.2 % of the CPU time: ")


def test_without_readings_steal_is_that_of_the_whole_run() -> None:
    one = measured({"load.steal_percent": 3.0}, [{"cpu.frequency_mhz": 2000.0}])
    assert warnings_of(one)[0].startswith("other guests of this machine took 3.0 %")


@pytest.mark.parametrize("name", ["cpu.frequency_mhz", "gpu.0.sm_mhz"])
def test_clocks_that_moved(name: str) -> None:
    readings = [{**READINGS, name: 2000.0}, {**READINGS, name: 1800.0}]
    (line,) = warnings_of(measured(readings=readings))
    assert line.startswith(f"{name} moved between 1800 and 2000 from block to block: ")


def test_a_single_reading_of_a_clock_proves_nothing() -> None:
    readings = [READINGS] * 39 + [{**READINGS, "cpu.frequency_mhz": 800.0}]
    assert warnings_of(measured(readings=readings)) == ()


GPU = {**READINGS, "gpu.1.throttled": 0.0, "gpu.1.idle": 0.0, "gpu.1.celsius": 60.0}


def slowed(*reasons: str) -> dict[str, float]:
    return {**GPU, "gpu.1.throttled": 1.0, **{f"gpu.1.throttled.{r}": 1.0 for r in reasons}}


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (
            ["sw_power_cap"],
            (
                "(sw_power_cap): fix a clock that it can hold, nvidia-smi --lock-gpu-clocks, or "
                "raise the limit, nvidia-smi --power-limit"
            ),
        ),
        (
            ["sw_power_cap", "hw_slowdown", "hw_thermal_slowdown"],
            (
                "(hw_slowdown, hw_thermal_slowdown, sw_power_cap): let it cool down, or give it "
                "more air"
            ),
        ),
        (
            ["hw_power_brake_slowdown"],
            (
                "(hw_power_brake_slowdown): nvidia-smi -q -d PERFORMANCE says whether heat or the "
                "power supply is the cause"
            ),
        ),
        (["sync_boost"], "(sync_boost): stop what runs on the GPUs that share its clock"),
        (
            [],
            (
                "(reason unknown): nvidia-smi -q -d PERFORMANCE says whether heat or the power "
                "supply is the cause"
            ),
        ),
    ],
)
def test_a_gpu_that_slowed_down_itself(reasons: list[str], expected: str) -> None:
    (line,) = warnings_of(measured(readings=[GPU, GPU, GPU, slowed(*reasons)]))
    assert line == f"GPU 1 lowered its clocks in 10 of 40 blocks {expected}"


def test_a_gpu_that_slowed_down_in_hardly_any_block() -> None:
    two, three = ([GPU] * (40 - n) + [slowed("sw_power_cap")] * n for n in (2, 3))
    assert warnings_of(measured(readings=two)) == ()
    assert len(warnings_of(measured(readings=three))) == 1


def test_reasons_are_those_of_the_gpu_itself() -> None:
    both = {**slowed("sw_power_cap"), "gpu.10.throttled": 1.0, "gpu.10.throttled.sync_boost": 1.0}
    lines = warnings_of(measured(readings=[both]))
    assert [line.partition(":")[0] for line in lines] == [
        "GPU 1 lowered its clocks in 40 of 40 blocks (sw_power_cap)",
        "GPU 10 lowered its clocks in 40 of 40 blocks (sync_boost)",
    ]


@pytest.mark.parametrize(("celsius", "warned"), [(86.9, False), (87.0, True)])
def test_a_gpu_that_is_near_its_limit(celsius: float, warned: bool) -> None:
    readings = [GPU] * 3 + [{**GPU, "gpu.1.celsius": celsius}]
    lines = warnings_of(measured({"gpu.1.limit_celsius": 90.0}, readings))
    expected = (
        "GPU 1 reached 87 °C and lowers its clocks at 90 °C: let it cool down, or give it more air"
    )
    assert lines == ((expected,) if warned else ())
    assert warnings_of(measured({"gpu.0.limit_celsius": 50.0}, readings)) == ()


def test_a_gpu_on_which_nothing_ran_does_not_matter() -> None:
    idle = {**slowed("sw_power_cap"), "gpu.1.idle": 1.0, "gpu.1.sm_mhz": 1980.0}
    moved = {**idle, "gpu.1.sm_mhz": 210.0}
    assert warnings_of(measured(readings=[idle, moved])) == ()
    busy = {**moved, "gpu.1.idle": 0.0}
    assert len(warnings_of(measured(readings=[idle, moved, busy]))) == 2


def test_few_turns() -> None:
    assert warnings_of(measured(turns=5)) == (
        (
            "there was time for 5 turns of the 8 that a verdict should rest on: give "
            "--duration more time"
        ),
    )


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            floor(1.001, 1.015, "slower"),
            (
                "a model against itself was called slower (+0.1 % to +1.5 %): take no difference "
                "of that size for real, and measure again"
            ),
        ),
        (
            floor(0.98, 1.02, "undecided"),
            (
                "the noise floor, ±2.0 %, is wider than the precision of 2 %: quieten the host, "
                "or give --duration more time"
            ),
        ),
    ],
)
def test_noise_floors_that_are_too_high(one: NoiseFloor, expected: str) -> None:
    assert warnings_of(measured(), floor=one) == (expected,)
