from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.bench.peaks import Bandwidth, Peaks, cache_bytes, measure_peaks, memory_buffer

MIB = 1 << 20


def tree(root: Path, caches: tuple[str, ...] = (), free_kib: int | None = None) -> Path:
    for index, size in enumerate(caches):
        folder = root / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(f"{size}\n")
    if free_kib is not None:
        (root / "proc").mkdir()
        (root / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {free_kib} kB\n")
    return root


def test_the_largest_cache_is_what_the_host_tells(tmp_path: Path) -> None:
    assert cache_bytes(tree(tmp_path, ("48K", "32K", "2048K", "16M"))) == 16 * MIB
    assert cache_bytes(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("text", ["", "K", "many", "12Q"])
def test_a_size_that_is_none_is_left_out(tmp_path: Path, text: str) -> None:
    assert cache_bytes(tree(tmp_path, (text,))) is None


@pytest.mark.parametrize(
    ("caches", "free_mib", "expected_mib"),
    [
        (("100M",), None, 200),
        ((), None, 64),
        (("900M",), None, 1024),
        (("100M",), 400, 100),
        (("100M",), 8, 64),
    ],
)
def test_the_memory_buffer(
    tmp_path: Path, caches: tuple[str, ...], free_mib: int | None, expected_mib: int
) -> None:
    free = None if free_mib is None else free_mib * 1024
    assert memory_buffer(tree(tmp_path, caches, free)) == expected_mib * MIB


def test_a_ceiling_for_every_type_that_kernels_compute_on() -> None:
    none = Bandwidth(1, 1.0, 1.0)
    peaks = Peaks(1, 8.0, "a", 32.0, "b", none, none)
    found = {
        name: peaks.compute(name) for name in ("float", "float16", "double", "uint8", "int64")
    }
    assert found == {"float": 8.0, "float16": 8.0, "double": 4.0, "uint8": 32.0, "int64": None}


def test_this_host_has_ceilings() -> None:
    peaks = measure_peaks(1, 1000, milliseconds=0.2, repetitions=20, memory_buffer_bytes=4 * MIB)
    assert peaks.float32 > 1e8
    assert peaks.int8 > 1e8
    assert peaks.float32_isa
    assert peaks.int8_isa
    assert peaks.working_set.buffer_bytes == MIB // 4
    assert peaks.memory.buffer_bytes == 4 * MIB
    assert peaks.working_set.best >= peaks.working_set.read > 0


def test_a_working_set_beyond_the_caches_is_memory() -> None:
    peaks = measure_peaks(1, 9 * MIB, milliseconds=0.2, repetitions=3, memory_buffer_bytes=4 * MIB)
    assert peaks.working_set is peaks.memory
