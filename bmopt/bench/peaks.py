"""What this host's processor and memory can do at most, measured on the spot.

The ceilings of a roofline have to be reached by something: here by loops of nothing but multiply-
adds or loads and stores, on as many threads as the engine has. They are bounds of plain vector
code; matrix extensions (AMX, SME) can exceed the arithmetic ones.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bmopt import _ext
from bmopt.core.cpuinfo import ROOT, read_text

_MIB = 1 << 20
_ASSUMED_CACHE = 32 * _MIB
_LEAST_BUFFER = _MIB // 4
_LEAST_MEMORY_BUFFER = 64 * _MIB
_MOST_MEMORY_BUFFER = 1024 * _MIB
_UNITS = {"K": 1 << 10, "M": _MIB, "G": 1 << 30}

_AS_FLOAT32 = ("float", "float16", "bfloat16")
_AS_INT8 = ("uint8", "int8")


@dataclasses.dataclass(frozen=True)
class Bandwidth:
    """Bytes per second on a buffer.

    Attributes:
        buffer_bytes: Size of the buffer, all threads' parts together.
        read: Reading it.
        copy: Copying one half to the other; bytes read and written both count.
    """

    buffer_bytes: int
    read: float
    copy: float

    @property
    def best(self) -> float:
        """The higher of the two."""
        return max(self.read, self.copy)


@dataclasses.dataclass(frozen=True)
class Peaks:
    """The ceilings of this host.

    Attributes:
        threads: How many threads reached them together.
        float32: Operations per second; a multiply-add counts as two.
        float32_isa: Instruction set of the loop.
        int8: The same on 8-bit integers.
        int8_isa: Instruction set of the loop.
        working_set: Bandwidth on as many bytes as an inference touches, which caches may hold.
        memory: Bandwidth on more bytes than the caches hold.
    """

    threads: int
    float32: float
    float32_isa: str
    int8: float
    int8_isa: str
    working_set: Bandwidth
    memory: Bandwidth

    def compute(self, dtype: str) -> float | None:
        """Return operations per second on ``dtype``, None where there is no ceiling for it.

        Half precision computes in float32 on CPUs.
        """
        if dtype in _AS_FLOAT32:
            return self.float32
        if dtype == "double":
            return self.float32 / 2
        return self.int8 if dtype in _AS_INT8 else None


def measure_peaks(
    threads: int,
    working_set_bytes: int,
    *,
    milliseconds: float = 0.5,
    repetitions: int = 300,
    memory_buffer_bytes: int | None = None,
) -> Peaks:
    """Measure for about a second; the best of many short repetitions counts.

    On a busy host a long one is sure to be interrupted, and shows half of what an engine reaches
    in between.

    Args:
        threads: How many at once, 1 or more.
        working_set_bytes: Bytes that an inference touches.
        milliseconds: Length of a repetition.
        repetitions: Of each ceiling.
        memory_buffer_bytes: Twice the last-level cache if not given, where a quarter of the free
            memory is as much.
    """
    small = max(_LEAST_BUFFER, working_set_bytes)
    large = memory_buffer() if memory_buffer_bytes is None else memory_buffer_bytes
    effort = (milliseconds, repetitions, threads)

    def bandwidth(size: int) -> Bandwidth:
        return Bandwidth(size, _ext.read_rate(size, *effort), _ext.copy_rate(size, *effort))

    memory = bandwidth(large)
    return Peaks(
        threads=threads,
        float32=_ext.float32_rate(*effort),
        float32_isa=_ext.float32_loop(1, 1.0, 1.0)[0],
        int8=_ext.int8_rate(*effort),
        int8_isa=_ext.int8_loop(1, 1, 1)[0],
        working_set=bandwidth(small) if small < large else memory,
        memory=memory,
    )


def memory_buffer(root: Path = ROOT) -> int:
    """Return the size of a buffer that the caches of this host do not hold, in bytes."""
    wanted = 2 * (cache_bytes(root) or _ASSUMED_CACHE)
    free = _free_bytes(root)
    most = _MOST_MEMORY_BUFFER if free is None else min(_MOST_MEMORY_BUFFER, free // 4)
    return max(min(wanted, most), _LEAST_MEMORY_BUFFER)


def cache_bytes(root: Path = ROOT) -> int | None:
    """Return the size of the largest cache of the first CPU, None where the host does not tell."""
    folder = root / "sys/devices/system/cpu/cpu0/cache"
    texts = [read_text(path) for path in folder.glob("index*/size")]
    sizes = [
        int(text[:-1]) * _UNITS[text[-1]]
        for text in texts
        if text[:-1].isdigit() and text[-1] in _UNITS
    ]
    return max(sizes, default=None)


def _free_bytes(root: Path) -> int | None:
    for line in read_text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable" and value.split()[:1] and value.split()[0].isdigit():
            return int(value.split()[0]) * 1024
    return None
