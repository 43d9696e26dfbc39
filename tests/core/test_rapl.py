from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from bmopt.core import rapl
from bmopt.core.rapl import open_rapl
from tests.core.host_trees import write_tree

POWERCAP = "sys/class/powercap"
RANGE_UJ = 262_143_328_850


def zone(number: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> dict[str, str]:
    folder = f"{POWERCAP}/intel-rapl:{number}"
    return {
        f"{folder}/name": f"{name}\n",
        f"{folder}/energy_uj": f"{energy_uj}\n",
        f"{folder}/max_energy_range_uj": f"{range_uj}\n",
    }


def count(root: Path, number: str, energy_uj: int) -> None:
    write_tree(root, {f"{POWERCAP}/intel-rapl:{number}/energy_uj": f"{energy_uj}\n"})


def test_packages_and_nothing_that_they_hold(tmp_path: Path) -> None:
    files: Mapping[str, str] = {
        **zone("10", "package-10", 1),
        **zone("0", "package-0", 500),
        **zone("0:0", "core", 300),
        **zone("0:1", "dram", 100),
        **zone("9", "package-9", 7),
        **zone("2", "psys", 900),
        f"{POWERCAP}/intel-rapl-mmio:0/name": "package-0\n",
    }
    found = open_rapl(write_tree(tmp_path, files))
    assert [one.name for one in found.packages] == ["package-0", "package-9", "package-10"]
    assert found.reason == ""


def test_energy_counts_from_zero_and_over_the_wrap(tmp_path: Path) -> None:
    root = write_tree(tmp_path, zone("0", "package-0", 900, range_uj=1000))
    (counter,) = open_rapl(root).packages
    assert counter.energy_uj() == 0
    said = []
    for energy in (950, 950, 20, 999, 0):
        count(root, "0", energy)
        said.append(counter.energy_uj())
    assert said == [50, 50, 120, 1099, 1100]


def test_of_two_packages_each_has_its_own(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {**zone("0", "package-0", 10), **zone("1", "package-1", 20)})
    first, second = open_rapl(root).packages
    count(root, "1", 25)
    assert (first.energy_uj(), second.energy_uj()) == (0, 5)


def test_readable_by_root_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> int:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return RANGE_UJ

    monkeypatch.setattr(rapl, "_number", refuse)
    found = open_rapl(write_tree(tmp_path, zone("0", "package-0", 1)))
    assert found.packages == ()
    assert found.reason == (
        "readable by root only: run as root, or as root "
        "chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
    )


def test_one_package_that_fails_leaves_the_other(tmp_path: Path) -> None:
    files = {**zone("0", "package-0", 1), **zone("1", "package-1", 1)}
    del files[f"{POWERCAP}/intel-rapl:0/energy_uj"]
    found = open_rapl(write_tree(tmp_path, files))
    assert [one.name for one in found.packages] == ["package-1"]
    assert found.reason == (
        "/sys/class/powercap/intel-rapl:0 cannot be read: No such file or directory"
    )


def test_a_counter_without_a_number(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path,
        {**zone("0", "package-0", 1), f"{POWERCAP}/intel-rapl:0/energy_uj": "\n"},
    )
    assert open_rapl(root).reason.startswith("/sys/class/powercap/intel-rapl:0 holds no energy: ")


def test_none_at_all(tmp_path: Path) -> None:
    assert open_rapl(tmp_path).reason == (
        "no energy counters in /sys/class/powercap: virtual machines have none; on bare metal, "
        "as root, modprobe intel_rapl_msr"
    )


def test_hidden_by_a_container(tmp_path: Path) -> None:
    folder = tmp_path / POWERCAP
    folder.mkdir(parents=True)
    (folder / "intel-rapl:0").symlink_to(tmp_path / "sys/devices/masked")
    assert open_rapl(tmp_path).reason == (
        "/sys/class/powercap is hidden, as containers do: measure outside of the container"
    )


def test_no_package_among_the_zones(tmp_path: Path) -> None:
    root = write_tree(tmp_path, zone("0", "psys", 5))
    assert open_rapl(root).reason == "no counter of a whole package in /sys/class/powercap"


def test_this_host_is_asked_without_harm() -> None:
    found = open_rapl()
    assert bool(found.packages) or bool(found.reason)
    assert all(one.energy_uj() >= 0 for one in found.packages)
