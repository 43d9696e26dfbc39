from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bench.energy import EnergyMeter, Meters, measure_energy, meters
from bmopt.core.bench_document import Energy
from bmopt.core.nvml import Nvml, own_nvml
from bmopt.core.runner import Feeds
from bmopt.errors import DataError
from tests.bench.scripted import ScriptedClock, ScriptedRunner, feeds
from tests.core.fake_nvml import H100, nvml_of
from tests.core.host_trees import write_tree
from tests.core.test_rapl import RANGE_UJ, count, zone

MS = 1_000_000
NO_GPU = Nvml((), "no driver")
ENERGY = ("nvmlDeviceGetTotalEnergyConsumption",)


class ScriptedMeter:
    """Counts ``watts`` of a clock's time, in steps; answers ``answers`` times, then no more."""

    note = "of the whole script"

    def __init__(
        self, clock: ScriptedClock, watts: float, step_ns: int, answers: int = 1_000_000
    ) -> None:
        self.source = f"SCRIPT {watts:g}"
        self.reads_ns: list[int] = []
        self._clock, self._watts, self._step_ns, self._answers = clock, watts, step_ns, answers

    def joules(self) -> float:
        if len(self.reads_ns) >= self._answers:
            raise OSError("gone")
        self.reads_ns.append(self._clock.now_ns)
        return self._watts * (self._clock.now_ns // self._step_ns * self._step_ns) * 1e-9


def measured(
    clock: ScriptedClock, *given: EnergyMeter, latency_ns: float = 1.7 * MS, seconds: float = 2.0
) -> tuple[tuple[Energy, ...], ScriptedRunner]:
    runner = ScriptedRunner("a", clock, lambda _: latency_ns, [])
    found = measure_energy("a", runner.run, feeds(), Meters(given), seconds=seconds, clock=clock)
    return found, runner


@pytest.mark.parametrize("step_ms", [1, 20, 100])
@pytest.mark.parametrize("began_ms", [0, 3, 55, 97])
def test_energy_of_one_inference_whatever_the_steps_of_the_counter(
    step_ms: int, began_ms: int
) -> None:
    clock = ScriptedClock()
    clock.now_ns += began_ms * MS
    ((one,), _) = measured(clock, ScriptedMeter(clock, 300.0, step_ms * MS))
    # Read at any moment, a counter with steps of 100 ms would be wrong by up to 5 %.
    assert one.joules == pytest.approx(300.0 * 1.7e-3, rel=2e-3)
    assert (one.subject, one.source, one.note) == ("a", "SCRIPT 300", "of the whole script")


def test_an_entry_for_every_meter() -> None:
    clock = ScriptedClock()
    given = [ScriptedMeter(clock, 65.0, MS), ScriptedMeter(clock, 400.0, 100 * MS)]
    found, _ = measured(clock, *given, latency_ns=0.25 * MS)
    assert [one.source for one in found] == ["SCRIPT 65", "SCRIPT 400"]
    assert [one.joules for one in found] == [
        pytest.approx(65.0 * 0.25e-3, rel=2e-3),
        pytest.approx(400.0 * 0.25e-3, rel=2e-3),
    ]


def test_the_meter_is_left_alone_in_between() -> None:
    clock = ScriptedClock()
    meter = ScriptedMeter(clock, 300.0, 100 * MS)
    (_, runner) = measured(clock, meter, latency_ns=0.05 * MS, seconds=1.0)
    gaps = [b - a for a, b in itertools.pairwise(meter.reads_ns)]
    assert max(gaps) >= 1000 * MS
    assert len(meter.reads_ns) < 250
    assert len(runner.fed) > 20_000
    assert set(runner.fed) == {0, 1, 2}, "feeds are used in rotation"


def test_inferences_that_are_longer_than_everything() -> None:
    clock = ScriptedClock()
    ((one,), runner) = measured(clock, ScriptedMeter(clock, 50.0, MS), latency_ns=3000.0 * MS)
    assert one.joules == pytest.approx(150.0, rel=1e-3)
    assert len(runner.fed) == 4, "warm-up, an edge, the time itself, another edge"


def test_a_counter_that_stands_still_ends() -> None:
    clock = ScriptedClock()
    still = ScriptedMeter(clock, 0.0, MS)
    moving = ScriptedMeter(clock, 10.0, MS)
    ((one, other), _) = measured(clock, still, moving)
    assert one.joules is None
    assert one.note == "not available: SCRIPT 0 does not count"
    assert other.joules == pytest.approx(0.017, rel=2e-3)
    assert clock.now_ns < 4_000 * MS


@pytest.mark.parametrize("answers", [0, 1, 3])
def test_a_counter_that_fails_says_so_and_the_others_go_on(answers: int) -> None:
    clock = ScriptedClock()
    failing = ScriptedMeter(clock, 10.0, MS, answers)
    ((one, other), _) = measured(clock, failing, ScriptedMeter(clock, 20.0, MS))
    assert (one.joules, one.note) == (None, "not available: SCRIPT 10: gone")
    assert other.joules == pytest.approx(0.034, rel=2e-3)


def test_without_a_meter_nothing_runs_and_the_reasons_are_told() -> None:
    def run(_: Feeds) -> object:
        raise AssertionError

    found = measure_energy("a", run, feeds(), Meters((), ("RAPL: hidden", "NVML: no driver")))
    assert found == (Energy("a", note="not available: RAPL: hidden; NVML: no driver"),)


def test_without_feeds() -> None:
    with pytest.raises(DataError, match="give at least one sample"):
        measure_energy("a", lambda _: None, [], Meters())


def test_errors_of_the_engine_pass_through() -> None:
    clock = ScriptedClock()

    def run(_: Feeds) -> object:
        raise OSError("the engine's own")

    with pytest.raises(OSError, match="the engine's own"):
        measure_energy("a", run, feeds(), Meters((ScriptedMeter(clock, 1.0, MS),)))


def test_rapl_over_the_wrap_of_its_counter(tmp_path: Path) -> None:
    clock = ScriptedClock()
    start_uj = RANGE_UJ - 20_000_000
    root = write_tree(tmp_path, zone("0", "package-0", start_uj))

    def run(_: Feeds) -> object:
        clock.now_ns += 100 * MS
        count(root, "0", (start_uj + 50 * clock.now_ns // 1000) % RANGE_UJ)
        return None

    (one,) = measure_energy("a", run, feeds(), meters(root, NO_GPU), clock=clock)
    assert int((root / "sys/class/powercap/intel-rapl:0/energy_uj").read_text()) < start_uj
    assert one.joules == pytest.approx(5.0)
    assert one.source == "RAPL package-0"
    assert one.note == "of the whole package, idle share included"


def test_nvml_counts_millijoules() -> None:
    clock = ScriptedClock()
    answers = dict(H100)

    def run(_: Feeds) -> object:
        clock.now_ns += 100 * MS
        answers[ENERGY] += 42_000
        return None

    found = meters(Path("/nowhere"), nvml_of(answers))
    (one,) = measure_energy("a", run, feeds(), found, clock=clock)
    assert one.joules == pytest.approx(42.0)
    assert one.source == "NVML GPU 0 NVIDIA H100 #0"
    assert one.note == "of the whole board, idle share included"


def test_a_gpu_that_falls_off_the_bus_on_the_way() -> None:
    clock = ScriptedClock()
    answers = dict(H100)

    def run(_: Feeds) -> object:
        clock.now_ns += 100 * MS
        answers.pop(ENERGY, None)
        return None

    found = meters(Path("/nowhere"), nvml_of(answers))
    (one,) = measure_energy("a", run, feeds(), found, clock=clock)
    assert one.joules is None
    assert one.note == (
        "not available: NVML GPU 0 NVIDIA H100 #0: its energy is not told any more"
    )


def test_the_meters_of_a_host(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {**zone("0", "package-0", 1), **zone("1", "package-1", 1)})
    old = {key: value for key, value in H100.items() if key != ENERGY}
    found = meters(root, nvml_of(H100, old))
    assert [one.source for one in found.usable] == [
        "RAPL package-0",
        "RAPL package-1",
        "NVML GPU 0 NVIDIA H100 #0",
    ]
    assert found.missing == ("NVML: GPU 1 NVIDIA H100 #1 counts no energy; GPUs from Volta on do",)


def test_why_a_host_has_no_meters(tmp_path: Path) -> None:
    found = meters(tmp_path, NO_GPU)
    assert found.usable == ()
    assert [line.partition(":")[0] for line in found.missing] == ["RAPL", "NVML"]
    assert found.missing[1] == "NVML: no driver"


def test_this_host_is_measured_or_says_why_not() -> None:
    here = meters()
    found = measure_energy("a", lambda feed: np.sort(feed["x"], None), feeds(), here, seconds=0.05)
    assert len(found) == max(1, len(here.usable))
    for one in found:
        assert (one.joules or 1.0) > 0.0
        assert (one.joules is None) == one.note.startswith("not available: ")


@pytest.mark.gpu
@pytest.mark.skipif(not own_nvml().gpus, reason=own_nvml().reason)
def test_energy_over_time_is_the_power_that_the_board_tells(record_property: Any) -> None:
    gpu = own_nvml().gpus[0]
    if gpu.energy_mj() is None:
        pytest.skip("this GPU counts no energy")
    (one, *_) = measure_energy(
        "idle", lambda _: time.sleep(0.01), feeds(), meters(Path("/nowhere")), seconds=3.0
    )
    watts = gpu.read().watts
    record_property("joules_watts", (one.joules, watts))
    assert one.joules is not None
    assert watts is not None
    assert one.joules / 0.0101 == pytest.approx(watts, rel=0.3)
