"""GPUs as CUDA's driver tells of them.

nvidia-smi lists all GPUs in the order of the bus. What CUDA uses is another matter: its own order,
``CUDA_VISIBLE_DEVICES``, and the integrated GPU of a Jetson, where nvidia-smi is missing or says
``[N/A]``. Asking needs no package, and without a driver it costs less than a millisecond.
"""

from __future__ import annotations

import ctypes
import dataclasses
import sys
from collections.abc import Callable

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NO_DEVICE = 100
_MAJOR, _MINOR = 75, 76
_LONGEST_NAME = 256


@dataclasses.dataclass(frozen=True)
class CudaGpu:
    """One GPU that CUDA can use.

    Attributes:
        name: The product's name.
        compute: Its compute capability, for example ``"8.7"``.
        memory_bytes: Its memory; that of the board where CPU and GPU share it.
        cuda: The newest CUDA that the driver can run, for example ``"12.6"``.
    """

    name: str
    compute: str
    memory_bytes: int
    cuda: str

    @property
    def sm(self) -> str:
        """The compute capability as targets name it, for example ``"sm87"``."""
        return f"sm{self.compute.replace('.', '')}"


class _DriverError(Exception):
    """A function of the driver failed; its code is the argument."""


def cuda_gpus(load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> tuple[CudaGpu, ...] | None:
    """Return the GPUs in CUDA's order, so that the first is the one used unless told otherwise.

    None where there is no driver or it fails, so that nothing is known.
    """
    try:
        driver = load(_LIBRARY)
        _call(driver, "cuInit", ctypes.c_uint(0))
        count = _int(driver, "cuDeviceGetCount")
        return tuple(_gpu(driver, ordinal) for ordinal in range(count))
    except OSError:
        return None
    except _DriverError as error:
        return () if error.args == (_NO_DEVICE,) else None


def _gpu(driver: ctypes.CDLL, ordinal: int) -> CudaGpu:
    device = ctypes.c_int(_int(driver, "cuDeviceGet", ctypes.c_int(ordinal)))
    name = ctypes.create_string_buffer(_LONGEST_NAME)
    _call(driver, "cuDeviceGetName", name, ctypes.c_int(_LONGEST_NAME), device)
    memory = ctypes.c_size_t()
    _call(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    major, minor = (
        _int(driver, "cuDeviceGetAttribute", ctypes.c_int(which), device)
        for which in (_MAJOR, _MINOR)
    )
    cuda = _int(driver, "cuDriverGetVersion")
    return CudaGpu(
        name.value.decode(errors="replace"),
        f"{major}.{minor}",
        int(memory.value),
        f"{cuda // 1000}.{cuda % 1000 // 10}",
    )


def _int(driver: ctypes.CDLL, function: str, *arguments: object) -> int:
    """Return what a function writes through its first argument."""
    answer = ctypes.c_int()
    _call(driver, function, ctypes.byref(answer), *arguments)
    return int(answer.value)


def _call(driver: ctypes.CDLL, function: str, *arguments: object) -> None:
    code = getattr(driver, function)(*arguments)
    if code:
        raise _DriverError(int(code))
