from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmopt.bench import environment
from bmopt.bench.environment import HostLoad, block_readings, describe, host_load, load_facts
from bmopt.core.host import host_facts
from bmopt.core.nvml import Nvml
from tests.core.fake_nvml import H100, Answers, nvml_of
from tests.core.host_trees import intel_tree, write_tree


def test_description_is_flat_json(tmp_path: Path) -> None:
    host = host_facts(
        intel_tree(tmp_path), machine="x86_64", query_gpus=lambda: "T4, 535, 15360, 7.5"
    )
    facts = describe({"intra_op": 2, "spinning": False}, host=host, packages={"x": "1.2"}).facts
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpu.flags"] == "sse4_1 avx2 avx512f avx512bw avx512_vnni"
    assert facts["cpu.governor"] == "powersave"
    assert facts["gpu.0"] == "T4, driver 535"
    assert facts["version.x"] == "1.2"
    assert (facts["threads.intra_op"], facts["threads.spinning"]) == (2, False)


def test_load_is_read_from_proc(tmp_path: Path) -> None:
    # Guest ticks, the last two, are already counted in user and nice.
    assert host_load(intel_tree(tmp_path)) == HostLoad(0.75, 30, 500, 1200.0)


@pytest.mark.parametrize(("cpu", "mhz"), [(0, 1200.0), (3, 2000.125)])
def test_frequency_is_that_of_the_cpu_the_thread_is_on(
    tmp_path: Path, cpu: int, mhz: float
) -> None:
    # The name, which may hold anything, stands in parentheses; the CPU is field 39.
    fields = ["S", *map(str, range(4, 39)), str(cpu), "0", "0"]
    tree = write_tree(
        intel_tree(tmp_path), {"proc/thread-self/stat": f"7 (a) b) {' '.join(fields)}\n"}
    )
    assert host_load(tree).frequency_mhz == mhz


def test_readings_of_a_block_leave_out_what_is_unknown() -> None:
    before = HostLoad(0.5, 10, 100, 2000.0)
    after = HostLoad(0.75, 12, 110, 1900.0, {"gpu.0.sm_mhz": 1410.0})
    assert block_readings(before, after) == {
        "cpu.frequency_mhz": 1900.0,
        "cpu.steal_ticks": 2,
        "cpu.total_ticks": 10,
        "load.average": 0.75,
        "gpu.0.sm_mhz": 1410.0,
    }
    assert block_readings(before, HostLoad(None, None, None, None)) == {}


@pytest.mark.parametrize(
    "stat", ["", "cpu 1 2 3\n", "cpu a b c d e f g h\n", "intr 1 2 3 4 5 6 7 8"]
)
def test_unreadable_load_is_unknown(tmp_path: Path, stat: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(stat, encoding="utf-8")
    assert host_load(tmp_path) == HostLoad(None, None, None, None)


def test_steal_is_a_share_of_the_time_between() -> None:
    before, after = HostLoad(0.1, 10, 1000, 2000.0), HostLoad(0.3, 30, 1100, None)
    facts = load_facts(before, after)
    assert facts["load.steal_percent"] == 20.0
    assert facts["cpu.frequency_mhz_after"] is None
    assert load_facts(before, before)["load.steal_percent"] is None
    assert load_facts(before, HostLoad(None, None, None, None))["load.steal_percent"] is None


def test_gpus_are_read_beside_the_load(tmp_path: Path) -> None:
    reasons = ("nvmlDeviceGetCurrentClocksEventReasons",)
    throttled: Answers = {reasons: 0x46, ("nvmlDeviceGetTemperature", 0): 84}
    load = host_load(intel_tree(tmp_path), nvml_of(H100, throttled, {reasons: 0x3}))
    assert load == HostLoad(
        0.75,
        30,
        500,
        1200.0,
        {
            "gpu.0.sm_mhz": 1410.0,
            "gpu.0.memory_mhz": 2619.0,
            "gpu.0.celsius": 61.0,
            "gpu.0.watts": 312.5,
            "gpu.0.utilisation_percent": 87.0,
            "gpu.0.idle": 0.0,
            "gpu.0.throttled": 0.0,
            "gpu.1.celsius": 84.0,
            "gpu.1.idle": 0.0,
            "gpu.1.throttled": 1.0,
            "gpu.1.throttled.sw_power_cap": 1.0,
            "gpu.1.throttled.hw_thermal_slowdown": 1.0,
            "gpu.2.idle": 1.0,
            "gpu.2.throttled": 0.0,
        },
    )
    assert block_readings(load, load)["gpu.1.throttled"] == 1.0


def test_only_this_host_has_this_host_s_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "own_nvml", lambda: nvml_of(H100))
    assert host_load().devices["gpu.0.celsius"] == 61.0
    assert host_load(tmp_path).devices == {}
    assert describe(packages={}).facts["gpu.0.limit_watts"] == 700.0


def test_limits_and_reasons_of_gpus_are_facts(tmp_path: Path) -> None:
    host = host_facts(intel_tree(tmp_path), query_gpus=lambda: "T4, 535, 15360, 7.5")
    capped: Answers = {("nvmlDeviceGetCurrentClocksEventReasons",): 0x6}
    facts = describe(host=host, packages={}, nvml=nvml_of(H100, capped)).facts
    assert {name: fact for name, fact in facts.items() if name.startswith("gpu.")} == {
        "gpu.0": "T4, driver 535",
        "gpu.0.throttle_reasons": "none",
        "gpu.0.limit_watts": 700.0,
        "gpu.0.limit_sm_mhz": 1980.0,
        "gpu.0.limit_celsius": 90.0,
        "gpu.1.throttle_reasons": "applications_clocks_setting sw_power_cap",
    }
    none = describe(host=host, packages={}, nvml=Nvml((), "no driver")).facts
    assert [name for name in none if name.startswith("gpu.")] == ["gpu.0"]


@pytest.mark.parametrize(
    ("files", "celsius"),
    [
        ({"hwmon0/name": "coretemp\n", "hwmon0/temp1_input": "54000\n"}, {"cpu.celsius": 54.0}),
        ({"hwmon3/name": "k10temp\n", "hwmon3/temp1_input": "-1500\n"}, {"cpu.celsius": -1.5}),
        ({"hwmon0/name": "acpitz\n", "hwmon0/temp1_input": "54000\n"}, {}),
        ({"hwmon0/name": "coretemp\n"}, {}),
        ({"hwmon0/name": "coretemp\n", "hwmon0/temp1_input": "N/A\n"}, {}),
    ],
    ids=["intel", "amd", "firmware", "gone", "no-number"],
)
def test_the_cpu_s_temperature(
    tmp_path: Path, files: dict[str, str], celsius: dict[str, float]
) -> None:
    decoy = {"hwmon1/name": "nvme\n", "hwmon1/temp1_input": "30000\n"}
    folder = "sys/class/hwmon"
    tree = write_tree(tmp_path, {f"{folder}/{k}": text for k, text in {**decoy, **files}.items()})
    assert host_load(tree).devices == celsius


def test_this_host_can_be_described() -> None:
    facts = describe().facts
    assert facts["version.numpy"] != "not installed"
    json.dumps(facts)
