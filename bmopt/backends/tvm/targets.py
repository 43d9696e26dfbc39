"""Devices of TVM targets: what LLVM is told of each, and what a host must have to run it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from typing import Any

from bmopt.backends.onnxruntime.schemes import device_of
from bmopt.backends.tvm import probe
from bmopt.core.host import Host
from bmopt.errors import TargetError

HOST = "host"
"""The device that stands for the processor at hand."""


@dataclasses.dataclass(frozen=True)
class Device:
    """One class of processors.

    Attributes:
        architecture: As ``Host.architecture`` names it.
        mtriple: LLVM's triple.
        mcpu: LLVM's name of the processor.
        mattr: Instruction sets beyond those of ``mcpu``.
        cores: How many cores are planned for; a run may use fewer.
        flags: Flags that a host must have, as ``Host.flags`` names them.
        scheme: Class of processors of ``ort-int8`` whose integers it wants.
        extra: What else TVM's target takes.
    """

    architecture: str
    mtriple: str
    mcpu: str
    mattr: tuple[str, ...] = ()
    cores: int = 4
    flags: tuple[str, ...] = ()
    scheme: str = "arm64"
    extra: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the dictionary that ``tvm.target.Target`` takes."""
        found: dict[str, Any] = {"kind": "llvm", "num-cores": self.cores}
        if self.mtriple:
            found["mtriple"] = self.mtriple
        if self.mcpu:
            found["mcpu"] = self.mcpu
        if self.mattr:
            found["mattr"] = list(self.mattr)
        return {**found, **self.extra}


_ARM64, _X86 = ("aarch64", "aarch64-linux-gnu"), ("x86_64", "x86_64-linux-gnu")
_RVV = ("+m", "+a", "+f", "+d", "+c", "+v")

DEVICES: dict[str, Device] = {
    "cortex-a53": Device(*_ARM64, "cortex-a53", ("+neon",)),
    "cortex-a72": Device(*_ARM64, "cortex-a72", ("+neon",)),
    "cortex-a76": Device(
        *_ARM64, "cortex-a76", ("+neon", "+dotprod"), flags=("asimddp",), scheme="arm64-dotprod"
    ),
    "armv7-neon": Device(
        "armv7l",
        "armv7l-linux-gnueabihf",
        "cortex-a7",
        ("+neon", "+vfp4"),
        extra={"mfloat-abi": "hard"},
    ),
    "riscv64-rvv": Device(
        "riscv64", "riscv64-linux-gnu", "generic-rv64", _RVV, extra={"mabi": "lp64d"}
    ),
    "x86-avx2": Device(*_X86, "x86-64-v3", flags=("avx2",), scheme="x86-avx2"),
    "x86-vnni": Device(*_X86, "cascadelake", flags=("avx512_vnni",), scheme="x86-vnni"),
}
"""Name of a device -> what it is."""

_COMPILERS: Mapping[str, tuple[str, ...]] = {
    "aarch64": ("aarch64-linux-gnu-g++",),
    "armv7l": ("arm-linux-gnueabihf-g++",),
    "riscv64": ("riscv64-linux-gnu-g++",),
    "x86_64": ("x86_64-linux-gnu-g++",),
}
_OWN_COMPILERS = ("g++", "c++", "clang++")


def device_for(name: str, host: Host) -> Device:
    """Return the device ``name`` of a resolved target.

    Raises:
        TargetError: It is a tag that TVM does not know, or of something else than a processor.
        HostError: It is a tag, and TVM is needed to look it up.
    """
    if name in ("", HOST):
        return _own(host)
    return DEVICES[name] if name in DEVICES else _tagged(name)


def _own(host: Host) -> Device:
    """Return the processor at hand; LLVM knows its name, where TVM is installed."""
    mcpu, mtriple = "", ""
    if not probe.why_not():
        codegen = probe.load("tvm.target.codegen")
        mcpu, mtriple = str(codegen.llvm_get_system_cpu()), str(codegen.llvm_get_system_triple())
    return Device(
        host.architecture,
        mtriple,
        mcpu,
        cores=_usable_cores(host),
        flags=host.flags,
        scheme=_own_scheme(host),
    )


def _usable_cores(host: Host) -> int:
    known = (host.affinity, host.physical_cores, host.logical_cores)
    cores = [count for count in known if count]
    quota = [max(1, int(host.cpu_quota))] if host.cpu_quota else []
    return min((*cores, *quota), default=1)


def _own_scheme(host: Host) -> str:
    try:
        return device_of(host)
    except TargetError:
        return "arm64"


def _tagged(tag: str) -> Device:
    target = probe.load("tvm.target")
    try:
        found = target.Target(tag)
    except ValueError as error:
        raise TargetError(
            f"TVM knows no target {tag!r}; its tags are listed by tvm.target.list_tags(), "
            f"devices of bmopt are {HOST}, {', '.join(DEVICES)}"
        ) from error
    if found.kind.name != "llvm":
        raise TargetError(f"{tag!r} is a {found.kind.name} target; bmopt compiles for processors")
    attributes = dict(found.attrs)
    mtriple = str(attributes.get("mtriple", "x86_64-linux-gnu"))
    architecture = mtriple.partition("-")[0]
    mattr = tuple(str(one) for one in attributes.get("mattr", ()))
    mcpu = str(attributes.get("mcpu", ""))
    extra = {k: str(attributes[k]) for k in ("mabi", "mfloat-abi") if k in attributes}
    cores = int(attributes.get("num-cores", 4))
    return Device(
        architecture,
        mtriple,
        mcpu,
        mattr,
        cores,
        scheme=_scheme_of(architecture, mattr),
        extra=extra,
    )


def _scheme_of(architecture: str, mattr: tuple[str, ...]) -> str:
    if architecture == "x86_64":
        return "x86-avx2"
    return "arm64-dotprod" if "+dotprod" in mattr else "arm64"


def why_not_run(name: str, device: Device, host: Host) -> str:
    """Return why this host does not run what is compiled for ``device``; empty where it does."""
    if name in ("", HOST):
        return ""
    if device.architecture != host.architecture:
        return f"made for {name} ({device.architecture}), this host is {host.architecture}"
    lacking = [flag for flag in device.flags if flag not in host.flags]
    return f"made for {name}, this host has no {', '.join(lacking)}" if lacking else ""


def compiler_for(device: Device, host: Host) -> str:
    """Return the path of a C++ compiler that links for ``device``; empty where there is none."""
    names = _COMPILERS.get(device.architecture, ())
    if device.architecture == host.architecture:
        names = (*_OWN_COMPILERS, *names)
    return next(filter(None, map(shutil.which, names)), "")


def package_of(device: Device) -> str:
    """Return what to install to link for ``device``."""
    names = _COMPILERS.get(device.architecture)
    return names[0] if names else f"a C++ compiler for {device.architecture}"
