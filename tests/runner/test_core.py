from __future__ import annotations

import platform

import numpy as np
import pytest

from bmopt.core.cpuinfo import ISA_FLAGS, cpu_flags
from tests.runner.conftest import Build


def test_unit_tests_pass_under_sanitizers(native: Build) -> None:
    done = native.run("runner_unit_tests")
    assert done.returncode == 0, done.stderr
    assert "cases passed" in done.stdout


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86-64")
def test_cpu_features_are_those_of_the_kernel(native: Build) -> None:
    lines = [line.split() for line in native.run("runner_unit_tests").stdout.splitlines()]
    told = {line[1]: line[2] == "1" for line in lines if line[:1] == ["cpu"] and len(line) == 3}
    assert set(told) == set(ISA_FLAGS)
    assert {name for name, has in told.items() if has} == cpu_flags()


def test_unit_tests_pass_on_aarch64(cross: Build, qemu: tuple[str, ...]) -> None:
    done = cross.run("runner_unit_tests", prefix=qemu)
    assert done.returncode == 0, done.stderr
    assert "cpu asimd 1" in done.stdout
    assert "cpu avx2 0" in done.stdout


def test_the_library_shows_its_functions_only(cross: Build) -> None:
    names = _dynamic_symbols((cross.folder / "libbmopt_runner.so").read_bytes())
    assert {name for name in names if name.startswith("bm_")} == {
        *("bm_open", "bm_run", "bm_close", "bm_io_count", "bm_io_info", "bm_last_error"),
        *("bm_model_name", "bm_model_target", "bm_engine_version", "bm_dtype_bytes"),
    }
    assert not [name for name in names if name.startswith(("_ZN", "_ZSt", "_ZNSt"))]


def test_the_library_needs_the_c_library_only(cross: Build) -> None:
    data = (cross.folder / "libbmopt_runner.so").read_bytes()
    assert b"libc.so.6\0" in data
    assert b"libstdc++.so" not in data
    assert b"libgcc_s.so" not in data


def _dynamic_symbols(data: bytes) -> set[str]:
    """Names of the defined dynamic symbols of a 64-bit little-endian ELF file."""
    offset = int.from_bytes(data[0x28:0x30], "little")
    count = int.from_bytes(data[0x3C:0x3E], "little")
    section = np.dtype(
        [
            ("name", "<u4"),
            ("type", "<u4"),
            ("flags", "<u8"),
            ("addr", "<u8"),
            ("offset", "<u8"),
            ("size", "<u8"),
            ("link", "<u4"),
            ("info", "<u4"),
            ("align", "<u8"),
            ("entsize", "<u8"),
        ]
    )
    symbol = np.dtype(
        [
            ("name", "<u4"),
            ("info", "u1"),
            ("other", "u1"),
            ("shndx", "<u2"),
            ("value", "<u8"),
            ("size", "<u8"),
        ]
    )
    sections = np.frombuffer(data, section, count, offset)
    table = sections[sections["type"] == 11][0]
    texts = data[int(sections[table["link"]]["offset"]) :]
    symbols = np.frombuffer(data, symbol, int(table["size"]) // 24, int(table["offset"]))
    starts = (int(entry["name"]) for entry in symbols if entry["shndx"] != 0)
    return {texts[start : texts.index(b"\0", start)].decode() for start in starts}
