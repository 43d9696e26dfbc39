from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmopt.bench.environment import HostLoad, describe, host_load, load_facts
from bmopt.core.host import host_facts
from tests.core.host_trees import intel_tree


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


def test_this_host_can_be_described() -> None:
    facts = describe().facts
    assert facts["version.numpy"] != "not installed"
    json.dumps(facts)
