from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from bmopt.backends.tvm.board_facts import facts_of

_CPU = "/sys/devices/system/cpu"


class Session:
    """What a server would answer that has these files and functions."""

    def __init__(self, files: Mapping[str, str], functions: Mapping[str, object]) -> None:
        self._files = files
        self._functions = {"runtime.NumThreads": 4, **functions}

    def download(self, path: str) -> bytearray:
        if path not in self._files:
            raise RuntimeError(f"no {path}")
        return bytearray(self._files[path].encode().ljust(4096, b"\0"))

    def get_function(self, name: str) -> Callable[[], object]:
        if name not in self._functions:
            raise AttributeError(name)
        return lambda: self._functions[name]


def test_features_are_read_off_the_kernels_alias() -> None:
    alias = "cpu:type:aarch64:feature:,0000,0001,0003,0014\n"  # 0x14 is the dot product
    found = facts_of(Session({f"{_CPU}/modalias": alias, f"{_CPU}/online": "0-3\n"}, {}))
    assert (found.architecture, found.cores, found.threads) == ("aarch64", 4, 4)
    assert found.lacking == {"sve"}
    alias = "cpu:type:x86,ven0000fam0006mod0097:feature:,0093,0125,0184\n"
    found = facts_of(Session({f"{_CPU}/modalias": alias}, {}))
    assert found.architecture == "x86_64"
    assert found.lacking == {"avx512f", "avx512bw", "avx512_vnni", "amx_int8"}


def test_the_compiler_tells_where_the_kernel_does_not() -> None:
    functions = {
        "target.llvm_get_system_triple": "arm64-unknown-linux-gnu",
        "target.llvm_get_system_cpu": "cortex-a72",
    }
    found = facts_of(Session({}, functions))
    assert (found.architecture, found.cpu) == ("aarch64", "cortex-a72")
    assert (found.cores, found.lacking) == (0, frozenset())


@pytest.mark.parametrize(
    ("text", "cores"), [("0", 1), ("0-7", 8), ("0,2-3,6", 4), ("", 0), ("all", 0)]
)
def test_cores_are_counted(text: str, cores: int) -> None:
    assert facts_of(Session({f"{_CPU}/online": text}, {})).cores == cores


def test_a_board_with_the_runtime_alone_tells_less() -> None:
    found = facts_of(Session({}, {}))
    assert str(found) == "tells nothing of itself"
    assert found.threads == 4
