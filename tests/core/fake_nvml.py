"""A library that answers like NVML: drivers and GPUs of other machines."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bmopt.core.nvml import Nvml, open_nvml

Answers = dict[tuple[str | int, ...], int]
"""Function and its arguments but the device -> what it answers; others are not supported."""

H100: Answers = {
    ("nvmlDeviceGetClockInfo", 1): 1410,
    ("nvmlDeviceGetClockInfo", 2): 2619,
    ("nvmlDeviceGetTemperature", 0): 61,
    ("nvmlDeviceGetPowerUsage",): 312_500,
    ("nvmlDeviceGetUtilizationRates",): 87,
    ("nvmlDeviceGetCurrentClocksEventReasons",): 0,
    ("nvmlDeviceGetTotalEnergyConsumption",): (1 << 40) + 7,
    ("nvmlDeviceGetEnforcedPowerLimit",): 700_000,
    ("nvmlDeviceGetMaxClockInfo", 1): 1980,
    ("nvmlDeviceGetTemperatureThreshold", 1): 90,
}

_NOT_SUPPORTED = 3
_FIRST_HANDLE = 0x7F00_0000_1000
_WIDE = ("ClocksEventReasons", "ClocksThrottleReasons", "TotalEnergyConsumption")


class FakeNvml:
    """libnvidia-ml with these GPUs; those in ``lost`` have no handle, ``missing`` no symbol."""

    def __init__(
        self,
        *gpus: Answers,
        missing: Collection[str] = (),
        lost: Collection[int] = (),
        fails: Mapping[str, int] | None = None,
    ) -> None:
        self.gpus = gpus
        self.calls: list[str] = []
        self._missing = missing
        self._lost = lost
        self._fails = fails or {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in self._missing:
            raise AttributeError(name)
        if name == "nvmlErrorString":
            return _Function(lambda code: b"Driver Not Loaded" if code == 9 else b"Unknown Error")
        return _Function(lambda *arguments: self._answer(name, *arguments))

    def _answer(self, name: str, *arguments: Any) -> int:
        self.calls.append(name)
        if name in self._fails:
            return self._fails[name]
        own = getattr(type(self), f"_{name}", None)
        if own is not None:
            return own(self, *arguments) or 0
        device, *rest, answer = arguments
        value = self.gpus[device.value - _FIRST_HANDLE].get((name, *rest))
        if value is None:
            return _NOT_SUPPORTED
        kind = ctypes.c_ulonglong if name.endswith(_WIDE) else ctypes.c_uint
        assert ctypes.sizeof(answer._obj) == ctypes.sizeof(kind) * (1 + ("Rates" in name))
        answer._obj.value = value
        return 0

    def _nvmlInit_v2(self) -> None:  # noqa: N802
        assert self.calls == ["nvmlInit_v2"], "started once, before all others"

    def _nvmlDeviceGetCount_v2(self, answer: Any) -> None:  # noqa: N802
        answer._obj.value = len(self.gpus)

    def _nvmlDeviceGetHandleByIndex_v2(self, index: int, answer: Any) -> int:  # noqa: N802
        answer._obj.value = _FIRST_HANDLE + index
        return 15 if index in self._lost else 0

    def _nvmlDeviceGetName(self, device: Any, text: Any, size: int) -> None:  # noqa: N802
        assert len(text) == size >= 96
        text.value = b"NVIDIA H100 #%d" % (device.value - _FIRST_HANDLE)

    def _nvmlSystemGetDriverVersion(self, text: Any, size: int) -> None:  # noqa: N802
        assert len(text) == size >= 80
        text.value = b"550.54.14"


class _Function:
    """Holds its callers to the signature that they gave it, as ctypes does."""

    argtypes: tuple[Any, ...]
    restype: Any

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work

    def __call__(self, *arguments: Any) -> Any:
        assert len(arguments) == len(self.argtypes)
        for argument, kind in zip(arguments, self.argtypes, strict=True):
            if isinstance(argument, int):
                assert kind in (ctypes.c_uint, ctypes.c_int)
            elif hasattr(argument, "_obj"):
                assert kind is ctypes.POINTER(type(argument._obj))
            else:
                assert kind in (ctypes.c_void_p, ctypes.c_char_p)
        return self._work(*arguments)


def nvml_of(*gpus: Answers, **options: Any) -> Nvml:
    library: Any = FakeNvml(*gpus, **options)
    return open_nvml(lambda name: library)
