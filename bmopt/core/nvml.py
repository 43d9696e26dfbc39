"""What NVML, the library behind nvidia-smi, tells of NVIDIA's GPUs: clocks, power, throttling.

It comes with the driver. Asking needs no package, and without a driver it costs less than a
millisecond, once. GPUs are numbered as nvidia-smi does; CUDA may number them otherwise.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import sys
from collections.abc import Callable

_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"

# Values of the enumerations of nvml.h.
_CLOCK_SM, _CLOCK_MEMORY = 1, 2
_SENSOR_GPU = 0
_THRESHOLD_SLOWDOWN = 1
_LONGEST_TEXT = 96

_IDLE = 0x1
_REASONS = {
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
_SETTINGS = frozenset({"applications_clocks_setting", "display_clock_setting"})


class _Utilisation(ctypes.Structure):
    """Shares of the last sampling period, in per cent; ``value`` is that of the cores."""

    _fields_ = (("value", ctypes.c_uint), ("memory", ctypes.c_uint))


_Answer = ctypes.c_uint | ctypes.c_ulonglong | ctypes.c_void_p | _Utilisation
_Question = Callable[[], int | None]


@dataclasses.dataclass(frozen=True)
class GpuReading:
    """The state of a GPU at one moment; ``None`` is what it does not tell.

    Attributes:
        sm_mhz: Clock of its multiprocessors, in MHz.
        memory_mhz: Clock of its memory, in MHz.
        celsius: Temperature of the chip, in °C.
        watts: Power of the whole board, in W; since Ampere an average over the last second.
        utilisation_percent: Share of the time in which it ran anything; over the last second or
            less, depending on the product.
        reasons: What holds the clocks down, by NVML's names in lower case, such as
            ``"sw_power_cap"``. That nothing runs on the GPU is not among them.
        idle: Whether the clocks are low because nothing runs on it.
    """

    sm_mhz: float | None
    memory_mhz: float | None
    celsius: float | None
    watts: float | None
    utilisation_percent: float | None
    reasons: tuple[str, ...] | None
    idle: bool | None

    @property
    def slowdowns(self) -> tuple[str, ...] | None:
        """The reasons that come and go with load; clocks set by somebody are none."""
        if self.reasons is None:
            return None
        return tuple(reason for reason in self.reasons if reason not in _SETTINGS)


@dataclasses.dataclass(frozen=True)
class GpuLimits:
    """What a GPU may reach; ``None`` is what it does not tell.

    Attributes:
        watts: Power at which it lowers its clocks, in W.
        sm_mhz: Highest clock of its multiprocessors, in MHz.
        celsius: Temperature at which it lowers its clocks, in °C.
    """

    watts: float | None
    sm_mhz: float | None
    celsius: float | None


class NvmlGpu:
    """One GPU. Nothing here raises: where NVML gives an error, the value is None.

    Attributes:
        index: Its number in nvidia-smi.
        name: The product's name.
        driver: Version of the driver.
    """

    def __init__(self, library: ctypes.CDLL, index: int, device: ctypes.c_void_p) -> None:
        self.index = index
        self.name = _text(library, "nvmlDeviceGetName", device)
        self.driver = _text(library, "nvmlSystemGetDriverVersion")
        ask = functools.partial(_question, library, ctypes.c_uint)
        ask_wide = functools.partial(_question, library, ctypes.c_ulonglong)
        self._sm = ask("nvmlDeviceGetClockInfo", device, _CLOCK_SM)
        self._memory = ask("nvmlDeviceGetClockInfo", device, _CLOCK_MEMORY)
        self._temperature = ask("nvmlDeviceGetTemperature", device, _SENSOR_GPU)
        self._power = ask("nvmlDeviceGetPowerUsage", device)
        self._utilisation = _question(
            library, _Utilisation, "nvmlDeviceGetUtilizationRates", device
        )
        self._reasons = _either(
            # Its name since driver 535, and the one before.
            ask_wide("nvmlDeviceGetCurrentClocksEventReasons", device),
            ask_wide("nvmlDeviceGetCurrentClocksThrottleReasons", device),
        )
        self._energy = ask_wide("nvmlDeviceGetTotalEnergyConsumption", device)
        self._power_limit = ask("nvmlDeviceGetEnforcedPowerLimit", device)
        self._highest_sm = ask("nvmlDeviceGetMaxClockInfo", device, _CLOCK_SM)
        self._hottest = ask("nvmlDeviceGetTemperatureThreshold", device, _THRESHOLD_SLOWDOWN)

    def read(self) -> GpuReading:
        """Return its state now; six calls of the driver, quick enough for every block."""
        bits = self._reasons()
        return GpuReading(
            _float(self._sm()),
            _float(self._memory()),
            _float(self._temperature()),
            _thousandth(self._power()),
            _float(self._utilisation()),
            None if bits is None else _names(bits),
            None if bits is None else bool(bits & _IDLE),
        )

    def limits(self) -> GpuLimits:
        """Return what it may reach."""
        return GpuLimits(
            _thousandth(self._power_limit()), _float(self._highest_sm()), _float(self._hottest())
        )

    def energy_mj(self) -> int | None:
        """Return the energy of the whole board since the driver was loaded, in mJ.

        None before Volta. The counter moves in steps of up to a tenth of a second.
        """
        return self._energy()


@dataclasses.dataclass(frozen=True)
class Nvml:
    """The GPUs that NVML knows; ``reason`` says why there are none, else it is empty."""

    gpus: tuple[NvmlGpu, ...] = ()
    reason: str = ""


def open_nvml(load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> Nvml:
    """Open NVML; ``load`` opens a library by its name. Never raises."""
    try:
        library = load(_LIBRARY)
    except OSError:
        return Nvml(reason=f"no driver of NVIDIA: {_LIBRARY} cannot be opened")
    start = _function(library, "nvmlInit_v2")
    if start is None:
        return Nvml(reason=f"{_LIBRARY} is too old: it has no nvmlInit_v2")
    code = start()
    if code:
        return Nvml(reason=f"NVML does not start: {_error(library, int(code))}")
    count = _question(library, ctypes.c_uint, "nvmlDeviceGetCount_v2")() or 0
    found = tuple(gpu for i in range(count) if (gpu := _gpu(library, i)) is not None)
    return Nvml(found, "" if found else "the driver of NVIDIA finds no GPU")


@functools.cache
def own_nvml() -> Nvml:
    """Return this host's NVML, opened when it is first asked for and kept open."""
    return open_nvml()


def _gpu(library: ctypes.CDLL, index: int) -> NvmlGpu | None:
    """Return a GPU, or None where it fell off the bus or this process may not use it."""
    handle = _question(library, ctypes.c_void_p, "nvmlDeviceGetHandleByIndex_v2", index)()
    return None if handle is None else NvmlGpu(library, index, ctypes.c_void_p(handle))


def _question(
    library: ctypes.CDLL, kind: type[_Answer], name: str, *arguments: ctypes.c_void_p | int
) -> _Question:
    """Return a function that asks NVML for a number, which is None where there is an error.

    NVML's functions write it through their last argument and return an error code.
    """
    types = [
        ctypes.c_void_p if isinstance(a, ctypes.c_void_p) else ctypes.c_uint for a in arguments
    ]
    function = _function(library, name, *types, ctypes.POINTER(kind))
    if function is None:
        return _unknown

    def ask() -> int | None:
        answer = kind()
        return None if function(*arguments, ctypes.byref(answer)) else answer.value

    return ask


def _unknown() -> None:
    """Answer in place of a function that this driver does not have."""


def _either(first: _Question, second: _Question) -> _Question:
    return second if first is _unknown else first


def _function(library: ctypes.CDLL, name: str, *types: type[object]) -> Callable[..., int] | None:
    """Return a function of the library with its C signature, None where it has none."""
    try:
        function = getattr(library, name)
    except AttributeError:
        return None
    function.argtypes = types
    function.restype = ctypes.c_int
    found: Callable[..., int] = function
    return found


def _text(library: ctypes.CDLL, name: str, *device: ctypes.c_void_p) -> str:
    buffer = ctypes.create_string_buffer(_LONGEST_TEXT)
    types = [ctypes.c_void_p for _ in device]
    function = _function(library, name, *types, ctypes.c_char_p, ctypes.c_uint)
    if function is None or function(*device, buffer, _LONGEST_TEXT):
        return "unknown"
    return buffer.value.decode(errors="replace")


def _error(library: ctypes.CDLL, code: int) -> str:
    try:
        tell = library.nvmlErrorString
    except AttributeError:
        return f"error {code}"
    tell.argtypes, tell.restype = (ctypes.c_int,), ctypes.c_char_p
    told: bytes | None = tell(code)
    return f"error {code}" if told is None else told.decode(errors="replace")


def _names(bits: int) -> tuple[str, ...]:
    """Return the names of the bits; one that is newer than this file is told by its number."""
    if not bits & ~_IDLE:
        return ()
    known = (name for bit, name in _REASONS.items() if bits & bit)
    rest = bits & ~(_IDLE | sum(_REASONS))
    return (*known, *((f"reason_{rest:#x}",) if rest else ()))


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000.0
