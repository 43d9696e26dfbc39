"""The environment of a measurement: what the host is, and what it was busy with meanwhile."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path

from bmopt.core.cpuinfo import ROOT, read_text
from bmopt.core.host import Host, current_mhz, host_facts, versions
from bmopt.core.measurement import Environment, Fact
from bmopt.core.nvml import Nvml, NvmlGpu, own_nvml

# Columns of the first line of /proc/stat (proc(5)): user nice system idle iowait irq softirq
# steal; the guest columns after them are already part of user and nice.
_COLUMNS = 8
_STEAL = 7
# Where /proc/self/stat has the CPU that the task ran on last, counted after the name in
# parentheses: field 39 of all, field 37 of these.
_PROCESSOR = 36
# Drivers whose first temperature is that of the CPU and read from a register: firmware, which
# most thermal zones ask, may take milliseconds.
_THERMOMETERS = frozenset({"coretemp", "k10temp", "cpu_thermal"})


@dataclasses.dataclass(frozen=True)
class HostLoad:
    """How busy the host is; ``None`` is what it does not tell.

    Attributes:
        load_average: Runnable tasks, averaged over the last minute.
        steal_ticks: Time other guests of the same machine took, since boot.
        total_ticks: All CPU time since boot, in the same unit.
        frequency_mhz: Frequency of the CPU that this thread runs on.
        devices: Readings of devices: ``cpu.celsius``; and of every GPU, by its number in
            nvidia-smi, ``gpu.0.sm_mhz``, ``.memory_mhz``, ``.celsius``, ``.watts``,
            ``.utilisation_percent``, ``.idle`` and ``.throttled``, which are 1.0 or 0.0, and
            where it is throttled a 1.0 for every reason, as in ``gpu.0.throttled.sw_power_cap``.
    """

    load_average: float | None
    steal_ticks: int | None
    total_ticks: int | None
    frequency_mhz: float | None
    devices: Mapping[str, float] = dataclasses.field(default_factory=dict)


def describe(
    threads: Mapping[str, Fact] | None = None,
    *,
    host: Host | None = None,
    packages: Mapping[str, str] | None = None,
    nvml: Nvml | None = None,
) -> Environment:
    """Return what stays the same during a measurement.

    Args:
        threads: The engine's thread settings, for example ``{"intra_op": 1, "spinning": False}``.
        host: Facts of the host; read here if not given.
        packages: Package -> version; read here if not given.
        nvml: GPUs to ask for their limits and for what holds their clocks down before anything
            runs; this host's if not given.
    """
    known = host_facts() if host is None else host
    found = versions() if packages is None else packages
    return Environment(
        {
            "cpu.vendor": known.vendor,
            "cpu.model": known.model,
            "cpu.architecture": known.architecture,
            "cpu.flags": " ".join(known.flags),
            "cpu.physical_cores": known.physical_cores,
            "cpu.logical_cores": known.logical_cores,
            "cpu.affinity": known.affinity,
            "cpu.quota": known.cpu_quota,
            "cpu.governor": known.governor,
            "cpu.max_frequency_mhz": known.max_frequency_mhz,
            "memory.bytes": known.memory_bytes,
            **{f"gpu.{i}": f"{gpu.name}, driver {gpu.driver}" for i, gpu in enumerate(known.gpus)},
            **_gpu_facts(own_nvml() if nvml is None else nvml),
            "os": known.os,
            "kernel": known.kernel,
            "python": known.python,
            **{f"version.{name}": text for name, text in found.items()},
            **{f"threads.{name}": value for name, value in (threads or {}).items()},
        }
    )


def host_load(root: Path = ROOT, nvml: Nvml | None = None) -> HostLoad:
    """Return the present load of this host, or of the tree under ``root`` and its ``nvml``."""
    gpus = own_nvml() if nvml is None and root == ROOT else nvml
    steal, total = _ticks(root)
    return HostLoad(
        _load_average(root),
        steal,
        total,
        current_mhz(root, _current_cpu(root)),
        {**_cpu_celsius(root), **(_gpu_readings(gpus) if gpus is not None else {})},
    )


def load_facts(before: HostLoad, after: HostLoad) -> dict[str, Fact]:
    """Return what the host was busy with between two readings, as facts of a measurement."""
    return {
        "load.average_before": before.load_average,
        "load.average_after": after.load_average,
        "load.steal_percent": _steal_percent(before, after),
        "cpu.frequency_mhz_before": before.frequency_mhz,
        "cpu.frequency_mhz_after": after.frequency_mhz,
    }


def block_readings(before: HostLoad, after: HostLoad) -> dict[str, float]:
    """Return what two readings around a block say of it; what the host hides is left out."""
    found: dict[str, float | None] = {
        "cpu.frequency_mhz": after.frequency_mhz,
        "cpu.steal_ticks": _grown(before.steal_ticks, after.steal_ticks),
        "cpu.total_ticks": _grown(before.total_ticks, after.total_ticks),
        "load.average": after.load_average,
    }
    return {**{k: v for k, v in found.items() if v is not None}, **after.devices}


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _steal_percent(before: HostLoad, after: HostLoad) -> float | None:
    stolen = _grown(before.steal_ticks, after.steal_ticks)
    total = _grown(before.total_ticks, after.total_ticks)
    return None if stolen is None or not total else 100.0 * stolen / total


def _load_average(root: Path) -> float | None:
    try:
        return float((root / "proc/loadavg").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return os.getloadavg()[0] if root == ROOT and hasattr(os, "getloadavg") else None


def _ticks(root: Path) -> tuple[int | None, int | None]:
    try:
        with (root / "proc/stat").open(encoding="utf-8") as stream:
            name, *cells = stream.readline().split()
        ticks = [int(cell) for cell in cells[:_COLUMNS]]
    except (OSError, ValueError):
        return None, None
    if name != "cpu" or len(ticks) < _COLUMNS:
        return None, None
    return ticks[_STEAL], sum(ticks)


def _current_cpu(root: Path) -> int:
    """Return the CPU this thread runs on, 0 where the host does not say."""
    fields = read_text(root / "proc/thread-self/stat").rpartition(")")[2].split()
    return int(fields[_PROCESSOR]) if len(fields) > _PROCESSOR else 0


def _cpu_celsius(root: Path) -> dict[str, float]:
    path = _thermometer(root)
    text = "" if path is None else read_text(path)
    return {"cpu.celsius": int(text) / 1000.0} if text.lstrip("-").isdigit() else {}


@functools.cache
def _thermometer(root: Path) -> Path | None:
    """Return where the CPU's temperature is, in thousandths of a degree; None where it is not."""
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read_text(folder / "name") in _THERMOMETERS:
            return folder / "temp1_input"
    return None


def _gpu_readings(nvml: Nvml) -> dict[str, float]:
    readings: dict[str, float] = {}
    for gpu in nvml.gpus:
        readings.update(_readings(gpu))
    return readings


def _readings(gpu: NvmlGpu) -> dict[str, float]:
    now = gpu.read()
    slowdowns = now.slowdowns
    found = {
        "sm_mhz": now.sm_mhz,
        "memory_mhz": now.memory_mhz,
        "celsius": now.celsius,
        "watts": now.watts,
        "utilisation_percent": now.utilisation_percent,
        "idle": now.idle,
        "throttled": None if slowdowns is None else bool(slowdowns),
        **{f"throttled.{reason}": True for reason in slowdowns or ()},
    }
    return {f"gpu.{gpu.index}.{k}": float(v) for k, v in found.items() if v is not None}


def _gpu_facts(nvml: Nvml) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for gpu in nvml.gpus:
        reasons, limits = gpu.read().reasons, gpu.limits()
        facts |= {
            f"gpu.{gpu.index}.throttle_reasons": _joined(reasons),
            f"gpu.{gpu.index}.limit_watts": limits.watts,
            f"gpu.{gpu.index}.limit_sm_mhz": limits.sm_mhz,
            f"gpu.{gpu.index}.limit_celsius": limits.celsius,
        }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _joined(reasons: tuple[str, ...] | None) -> str | None:
    return None if reasons is None else " ".join(reasons) or "none"
