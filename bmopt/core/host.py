"""Facts about this host, read from Linux' /proc and /sys; elsewhere most are unknown.

Standard library only and quick to import: targets, ``bmopt doctor`` and every measurement ask.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bmopt.core.cpuinfo import (
    ISA_FLAGS,
    ROOT,
    UNKNOWN,
    architecture,
    common_flags,
    cpu_flags,
    model,
    read_cpus,
    read_text,
    vendor,
)

__all__ = ["Gpu", "Host", "architecture", "cpu_flags", "current_mhz", "host_facts", "versions"]

NOT_INSTALLED = "not installed"

_ENGINES = ("numpy", "onnx", "onnx_ir", "onnxruntime", "onnxsim")
_OPTIONAL = (
    *("apache-tvm", "apache-tvm-ffi", "onnxruntime-gpu", "openvino"),
    *("tensorrt", "tensorrt_cu12", "tensorrt_cu13", "tensorrt_rtx"),
)
_GPU_QUERY = (
    "--query-gpu=name,driver_version,memory.total,compute_cap",
    "--format=csv,noheader,nounits",
)
_GPU_TIMEOUT_S = 10.0
_COMPUTE = re.compile(r"\d+\.\d+")


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU; ``memory_bytes`` and ``compute`` are None and empty where not told."""

    name: str
    driver: str
    memory_bytes: int | None
    compute: str


@dataclasses.dataclass(frozen=True)
class Host:
    """What this host is; ``None`` and ``"unknown"`` stand for what it does not tell.

    Attributes:
        vendor: CPU vendor as the kernel names it, for example ``"GenuineIntel"`` or ``"ARM"``.
        model: CPU model; the distinct cores of a mixed design joined by ``" + "``.
        architecture: ``"x86_64"``, ``"aarch64"`` or the platform's own name.
        flags: Those of ``ISA_FLAGS`` that every core has.
        physical_cores: Cores, hyper-threads not counted.
        logical_cores: Hardware threads.
        affinity: How many of them this process may run on.
        cpu_quota: CPUs' worth of time a container may use, None without a limit.
        governor: Frequency governor of the first CPU.
        frequency_mhz: Current frequency of the first CPU.
        max_frequency_mhz: Its highest frequency.
        memory_bytes: Installed memory.
        gpus: NVIDIA GPUs.
        os: Name of the operating system or distribution.
        kernel: Its kernel's release.
        python: Version of the interpreter.
    """

    vendor: str
    model: str
    architecture: str
    flags: tuple[str, ...]
    physical_cores: int | None
    logical_cores: int | None
    affinity: int | None
    cpu_quota: float | None
    governor: str
    frequency_mhz: float | None
    max_frequency_mhz: float | None
    memory_bytes: int | None
    gpus: tuple[Gpu, ...]
    os: str
    kernel: str
    python: str


def host_facts(
    root: Path = ROOT,
    *,
    machine: str | None = None,
    query_gpus: Callable[[], str] | None = None,
) -> Host:
    """Return the facts of this host, or of the tree under ``root``.

    Args:
        root: Where ``proc``, ``sys`` and ``etc`` lie.
        machine: Machine name instead of this one's.
        query_gpus: Returns nvidia-smi's table; asks nvidia-smi where not given, and CUDA's driver
            where nvidia-smi is missing or does not tell, as on a Jetson.
    """
    cpus = read_cpus(root)
    frequency = root / "sys/devices/system/cpu/cpu0/cpufreq"
    return Host(
        vendor=vendor(cpus),
        model=model(cpus),
        architecture=architecture(machine),
        flags=tuple(flag for flag in ISA_FLAGS if flag in common_flags(cpus)),
        physical_cores=_physical_cores(root),
        logical_cores=len(cpus) or (os.cpu_count() if root == ROOT else None),
        affinity=_affinity(root),
        cpu_quota=_cpu_quota(root),
        governor=read_text(frequency / "scaling_governor") or UNKNOWN,
        frequency_mhz=current_mhz(root),
        max_frequency_mhz=_scaled(read_text(frequency / "cpuinfo_max_freq"), 1e-3),
        memory_bytes=_memory_bytes(root),
        gpus=_own_gpus() if query_gpus is None else _gpus(query_gpus()),
        os=_distribution(root),
        kernel=platform.release() or UNKNOWN,
        python=platform.python_version(),
    )


def current_mhz(root: Path = ROOT, cpu: int = 0) -> float | None:
    """Return a CPU's present frequency in MHz, or None."""
    text = read_text(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq")
    if text:
        return _scaled(text, 1e-3)
    return _cpuinfo_mhz(root / "proc/cpuinfo", cpu)


def _cpuinfo_mhz(path: Path, cpu: int) -> float | None:
    """Read no further than that CPU: this is asked beside every block of a measurement."""
    wanted = ("processor", str(cpu))
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            fields = ((name.strip(), text.strip()) for name, _, text in map(_parted, lines))
            from_there = itertools.dropwhile(lambda field: field != wanted, fields)
            return _scaled(next((text for name, text in from_there if name == "cpu MHz"), ""), 1.0)
    except OSError:
        return None


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def versions() -> dict[str, str]:
    """Return package -> installed version, without importing the packages.

    Cache keys hold what this returns, so a package that most hosts lack is named only where it is
    installed: which others bmopt knows of changes no key.
    """
    # Costs as much as all the rest of this module, and most callers do not need it.
    from importlib import metadata

    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return NOT_INSTALLED

    optional = {name: version(name) for name in _OPTIONAL}
    return {
        **{name: version(name) for name in _ENGINES},
        **{name: found for name, found in optional.items() if found != NOT_INSTALLED},
    }


def _physical_cores(root: Path) -> int | None:
    folder = root / "sys/devices/system/cpu"
    siblings = {read_text(path) for path in folder.glob("cpu[0-9]*/topology/thread_siblings_list")}
    return len(siblings - {""}) or None


def _affinity(root: Path) -> int | None:
    for line in read_text(root / "proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == "Cpus_allowed_list":
            return _count_cpus(value.strip())
    return None


def _count_cpus(ranges: str) -> int | None:
    """Return how many CPUs a list such as ``0-3,8`` names."""
    count = 0
    for part in ranges.split(","):
        low, _, high = part.partition("-")
        if not low.isdigit() or not (high or low).isdigit():
            return None
        count += int(high or low) - int(low) + 1
    return count


def _cpu_quota(root: Path) -> float | None:
    quota, _, period = read_text(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _memory_bytes(root: Path) -> int | None:
    for line in read_text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            kibibytes = _scaled(line.split()[1], 1024.0)
            return None if kibibytes is None else int(kibibytes)
    return None


def _distribution(root: Path) -> str:
    for line in read_text(root / "etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system() or UNKNOWN


def _scaled(text: str, factor: float) -> float | None:
    try:
        return float(text) * factor
    except ValueError:
        return None


def _own_gpus() -> tuple[Gpu, ...]:
    told = _gpus(_nvidia_smi())
    if told and all(gpu.compute for gpu in told):
        return told
    # Not needed on most hosts.
    from bmopt.core.cuda_driver import cuda_gpus

    found = cuda_gpus() or ()
    return tuple(Gpu(g.name, f"CUDA {g.cuda}", g.memory_bytes, g.compute) for g in found) or told


def _nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *_GPU_QUERY],
            capture_output=True,
            text=True,
            timeout=_GPU_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _gpus(table: str) -> tuple[Gpu, ...]:
    gpus = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4:
            name, driver, mebibytes, compute = cells
            size = _scaled(mebibytes, 2.0**20)
            known = compute if _COMPUTE.fullmatch(compute) else ""
            gpus.append(Gpu(name, driver, None if size is None else int(size), known))
    return tuple(gpus)
