from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from bmopt.core.cuda_driver import CudaGpu, cuda_gpus

_ATTRIBUTES = {75: (8, 9), 76: (7, 0)}


class FakeDriver:
    """libcuda with two GPUs; a function in ``fails`` gives that code. Arguments are ctypes'."""

    def __init__(self, gpus: int = 2, fails: dict[str, int] | None = None) -> None:
        self.gpus = gpus
        self.fails = fails or {}

    def __getattr__(self, name: str) -> Callable[..., int]:
        work = getattr(type(self), f"_{name}")
        return lambda *arguments: self.fails.get(name) or work(self, *arguments) or 0

    def _cuInit(self, flags: Any) -> None:  # noqa: N802
        assert flags.value == 0

    def _cuDriverGetVersion(self, answer: Any) -> None:  # noqa: N802
        answer._obj.value = 12060

    def _cuDeviceGetCount(self, answer: Any) -> None:  # noqa: N802
        answer._obj.value = self.gpus

    def _cuDeviceGet(self, answer: Any, ordinal: Any) -> None:  # noqa: N802
        answer._obj.value = ordinal.value

    def _cuDeviceGetName(self, name: Any, size: Any, device: Any) -> None:  # noqa: N802
        assert len(name) == size.value
        name.value = b"GPU %d" % device.value

    def _cuDeviceGetAttribute(self, answer: Any, which: Any, device: Any) -> None:  # noqa: N802
        answer._obj.value = _ATTRIBUTES[which.value][device.value]

    def _cuDeviceTotalMem_v2(self, answer: Any, device: Any) -> None:  # noqa: N802
        assert isinstance(answer._obj, ctypes.c_size_t)
        answer._obj.value = (64 << 30) + device.value


def test_gpus_in_cuda_s_order() -> None:
    found = cuda_gpus(lambda name: FakeDriver())
    assert found == (
        CudaGpu("GPU 0", "8.7", 64 << 30, "12.6"),
        CudaGpu("GPU 1", "9.0", (64 << 30) + 1, "12.6"),
    )
    assert [gpu.sm for gpu in found] == ["sm87", "sm90"]


@pytest.mark.parametrize(
    ("driver", "found"),
    [
        (FakeDriver(gpus=0), ()),
        (FakeDriver(fails={"cuInit": 100}), ()),
        (FakeDriver(fails={"cuInit": 803}), None),
        (FakeDriver(fails={"cuDeviceGetName": 1}), None),
    ],
    ids=["none", "no-device", "driver-of-another-version", "broken"],
)
def test_no_gpu_is_not_the_same_as_not_knowing(
    driver: FakeDriver, found: tuple[CudaGpu, ...] | None
) -> None:
    assert cuda_gpus(lambda name: driver) == found


def test_without_a_driver_nothing_is_known() -> None:
    def load(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    assert cuda_gpus(load) is None


def test_this_host_is_asked_without_harm() -> None:
    found = cuda_gpus()
    assert found is None or all(gpu.sm.startswith("sm") for gpu in found)
