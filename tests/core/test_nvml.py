from __future__ import annotations

import ctypes
import statistics
import subprocess
import sys
import time
from typing import Any

import pytest

from bmopt.core import nvml
from bmopt.core.nvml import GpuLimits, GpuReading, Nvml, open_nvml, own_nvml
from tests.core.fake_nvml import H100, Answers, FakeNvml, nvml_of

NOTHING = GpuReading(None, None, None, None, None, None, None)
REASONS = ("nvmlDeviceGetCurrentClocksEventReasons",)


def test_a_reading_in_the_units_that_it_names() -> None:
    (gpu,) = nvml_of(H100).gpus
    assert (gpu.index, gpu.name, gpu.driver) == (0, "NVIDIA H100 #0", "550.54.14")
    assert gpu.read() == GpuReading(1410.0, 2619.0, 61.0, 312.5, 87.0, (), False)
    assert gpu.limits() == GpuLimits(700.0, 1980.0, 90.0)
    assert gpu.energy_mj() == (1 << 40) + 7


def test_every_gpu_answers_for_itself() -> None:
    library: Any = FakeNvml(H100, {**H100, ("nvmlDeviceGetTemperature", 0): 30}, H100, lost=[0])
    known = open_nvml(lambda name: library)
    assert [gpu.index for gpu in known.gpus] == [1, 2], "numbers stay those of nvidia-smi"
    assert [gpu.read().celsius for gpu in known.gpus] == [30.0, 61.0]
    assert known.reason == ""


@pytest.mark.parametrize(
    ("function", "field"),
    [
        (("nvmlDeviceGetClockInfo", 1), "sm_mhz"),
        (("nvmlDeviceGetClockInfo", 2), "memory_mhz"),
        (("nvmlDeviceGetTemperature", 0), "celsius"),
        (("nvmlDeviceGetPowerUsage",), "watts"),
        (("nvmlDeviceGetUtilizationRates",), "utilisation_percent"),
        (REASONS, "reasons"),
    ],
)
def test_what_is_not_supported_is_none_and_the_others_are_still_there(
    function: tuple[str | int, ...], field: str
) -> None:
    answers = {key: value for key, value in H100.items() if key != function}
    read, full = nvml_of(answers).gpus[0].read(), nvml_of(H100).gpus[0].read()
    lost = {name for name in vars(full) if getattr(read, name) != getattr(full, name)}
    assert lost == {field} | ({"idle"} if field == "reasons" else set())
    assert getattr(read, field) is None


def test_a_gpu_that_tells_nothing_does_no_harm() -> None:
    (gpu,) = nvml_of({}, fails={"nvmlDeviceGetName": 999}).gpus
    assert gpu.name == "unknown"
    assert (gpu.read(), gpu.limits()) == (NOTHING, GpuLimits(None, None, None))
    assert gpu.read().slowdowns is None
    assert gpu.energy_mj() is None


@pytest.mark.parametrize(
    ("bits", "names", "idle"),
    [
        (0x0, (), False),
        (0x1, (), True),
        (0x4, ("sw_power_cap",), False),
        (0x48, ("hw_slowdown", "hw_thermal_slowdown"), False),
        (0x31, ("sync_boost", "sw_thermal_slowdown"), True),
        (0x180, ("hw_power_brake_slowdown", "display_clock_setting"), False),
        (0x2, ("applications_clocks_setting",), False),
        (0x604, ("sw_power_cap", "reason_0x600"), False),
    ],
)
def test_reasons_by_name(bits: int, names: tuple[str, ...], idle: bool) -> None:
    read = nvml_of({**H100, REASONS: bits}).gpus[0].read()
    assert (read.reasons, read.idle) == (names, idle)


def test_clocks_that_somebody_set_are_no_slowdown() -> None:
    read = nvml_of({**H100, REASONS: 0x106}).gpus[0].read()
    assert read.slowdowns == ("sw_power_cap",)


def test_reasons_by_their_name_of_old() -> None:
    old: Answers = {("nvmlDeviceGetCurrentClocksThrottleReasons",): 0x20}
    missing = ["nvmlDeviceGetCurrentClocksEventReasons"]
    assert nvml_of(old, missing=missing).gpus[0].read().reasons == ("sw_thermal_slowdown",)
    neither = [*missing, "nvmlDeviceGetCurrentClocksThrottleReasons"]
    assert nvml_of(H100, missing=neither).gpus[0].read().reasons is None


def test_a_reading_asks_nothing_twice_and_for_nothing_slow() -> None:
    library: Any = FakeNvml(H100)
    (gpu,) = open_nvml(lambda name: library).gpus
    library.calls.clear()
    gpu.read()
    assert sorted(library.calls) == [
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetUtilizationRates",
    ]


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (FakeNvml(), "the driver of NVIDIA finds no GPU"),
        (FakeNvml(H100, lost=[0]), "the driver of NVIDIA finds no GPU"),
        (
            FakeNvml(H100, fails={"nvmlInit_v2": 9}),
            "NVML does not start: Driver Not Loaded",
        ),
        (
            FakeNvml(H100, fails={"nvmlInit_v2": 9}, missing=["nvmlErrorString"]),
            "NVML does not start: error 9",
        ),
        (FakeNvml(H100, fails={"nvmlDeviceGetCount_v2": 1}), "the driver of NVIDIA finds no GPU"),
    ],
    ids=["none", "lost", "not-loaded", "no-words", "no-count"],
)
def test_why_there_is_no_gpu(library: Any, reason: str) -> None:
    assert open_nvml(lambda name: library) == Nvml((), reason)


def test_a_library_that_is_too_old() -> None:
    library: Any = FakeNvml(H100, missing=["nvmlInit_v2"])
    known = open_nvml(lambda name: library)
    assert known.gpus == ()
    assert known.reason.endswith("is too old: it has no nvmlInit_v2")


def test_without_a_driver() -> None:
    def load(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    known = open_nvml(load)
    assert known.gpus == ()
    assert known.reason.startswith("no driver of NVIDIA: ")


def test_this_host_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_fake() -> Nvml:
        opened.append("once")
        return nvml_of(H100)

    monkeypatch.setattr(nvml, "open_nvml", open_fake)
    own_nvml.cache_clear()
    try:
        assert own_nvml() is own_nvml()
    finally:
        own_nvml.cache_clear()
    assert opened == ["once"]


def test_quick_to_import() -> None:
    code = (
        "import sys, bmopt.core.nvml, bmopt.core.rapl; "
        "print([m for m in ('numpy', 'onnx', 'onnx_ir', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.gpu
@pytest.mark.skipif(not own_nvml().gpus, reason=own_nvml().reason)
def test_the_library_of_this_host(record_property: Any) -> None:
    for gpu in own_nvml().gpus:
        assert "unknown" not in (gpu.name, gpu.driver)
        read = gpu.read()
        record_property(f"gpu_{gpu.index}", f"{gpu.name}: {read}, {gpu.limits()}")
        assert read.sm_mhz is not None
        assert 0.0 < read.sm_mhz < 10_000.0
        assert read.celsius is not None
        assert 0.0 < read.celsius < 120.0
        assert read.watts is None or 1.0 < read.watts < 5_000.0
        assert read.reasons is not None
        assert not [reason for reason in read.reasons if reason.startswith("reason_")]


@pytest.mark.gpu
@pytest.mark.skipif(not own_nvml().gpus, reason=own_nvml().reason)
def test_a_reading_of_this_host_is_quick(record_property: Any) -> None:
    gpu = own_nvml().gpus[0]
    took = []
    for _ in range(200):
        before = time.perf_counter()
        gpu.read()
        took.append(time.perf_counter() - before)
    record_property("reading_us", round(1e6 * statistics.median(took), 1))
    assert statistics.median(took) < 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(not own_nvml().gpus, reason=own_nvml().reason)
def test_the_energy_counter_of_this_host_counts(record_property: Any) -> None:
    gpu = own_nvml().gpus[0]
    first = gpu.energy_mj()
    if first is None:
        pytest.skip("this GPU counts no energy")
    seen, end = {first}, time.monotonic() + 2.0
    while time.monotonic() < end:
        said = gpu.energy_mj()
        assert said is not None
        assert said >= max(seen)
        seen.add(said)
    record_property("energy_steps_in_2_s", len(seen) - 1)
    assert len(seen) >= 5, "a counter that moves more rarely cannot measure two seconds"
