"""What the kernel says about the CPUs: Linux' /proc/cpuinfo on x86-64 and AArch64."""

from __future__ import annotations

import platform
from pathlib import Path

UNKNOWN = "unknown"
ROOT = Path("/")

ISA_FLAGS = (
    "sse4_1",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
"""Instruction sets that decide how INT8 kernels run; asimddp is ARM's dot product."""

_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_ARM_VENDORS = {"0x41": "ARM", "0x4e": "NVIDIA", "0x51": "Qualcomm", "0x61": "Apple"}
# Part numbers of Arm's own cores, from their Technical Reference Manuals (MIDR_EL1).
_ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd44": "Cortex-X1",
    "0xd46": "Cortex-A510",
    "0xd47": "Cortex-A710",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}

Cpu = dict[str, str]
"""One CPU's fields, as /proc/cpuinfo names them."""


def architecture(machine: str | None = None) -> str:
    """Return ``"x86_64"``, ``"aarch64"`` or the platform's own name for something else."""
    name = (machine or platform.machine()).lower()
    return _MACHINES.get(name, name) or UNKNOWN


def cpu_flags(root: Path = ROOT) -> frozenset[str]:
    """Return those of ``ISA_FLAGS`` that every core of this host has; empty where unknown."""
    return common_flags(read_cpus(root)) & frozenset(ISA_FLAGS)


def read_cpus(root: Path = ROOT) -> list[Cpu]:
    """Return the CPUs of this host, or of the tree under ``root``; empty where not Linux."""
    cpus: list[Cpu] = []
    for paragraph in read_text(root / "proc/cpuinfo").split("\n\n"):
        pairs = (line.partition(":") for line in paragraph.splitlines())
        fields = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in fields:
            cpus.append(fields)
    return cpus


def vendor(cpus: list[Cpu]) -> str:
    """Return the first CPU's vendor as the kernel names it, or ``"unknown"``."""
    first = cpus[0] if cpus else {}
    code = first.get("CPU implementer", "")
    return first.get("vendor_id") or _ARM_VENDORS.get(code, code) or UNKNOWN


def model(cpus: list[Cpu]) -> str:
    """Return the CPU model, or the distinct cores of a mixed design joined by ``" + "``."""
    names = dict.fromkeys(_core_name(cpu) for cpu in cpus)
    return " + ".join(name for name in names if name) or UNKNOWN


def common_flags(cpus: list[Cpu]) -> frozenset[str]:
    """Return the flags that all of the CPUs have."""
    sets = [frozenset((cpu.get("flags") or cpu.get("Features", "")).split()) for cpu in cpus]
    return frozenset.intersection(*sets) if sets else frozenset()


def read_text(path: Path) -> str:
    """Return a file's stripped text, empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _core_name(cpu: Cpu) -> str:
    part = cpu.get("CPU part", "")
    if part and cpu.get("CPU implementer") == "0x41":
        return _ARM_PARTS.get(part, f"part {part}")
    return cpu.get("model name") or (f"part {part}" if part else "")
