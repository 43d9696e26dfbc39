"""Devices of TVM targets: what LLVM is told of each, and what a host must have to run it."""

from __future__ import annotations

import dataclasses
import difflib
import json
import shutil
from collections.abc import Collection, Mapping
from typing import Any

from bmopt.backends.onnxruntime.schemes import device_of
from bmopt.backends.tvm import probe
from bmopt.core.host import Host, host_facts
from bmopt.errors import TargetError

HOST = "host"
"""The device that stands for the processor at hand."""

CUDA = "cuda"
"""The device that stands for NVIDIA's GPUs."""


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
_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "aarch64": ("aarch64", "arm64"),
    "armv7l": ("arm", "thumb"),
    "riscv64": ("riscv64",),
    "x86_64": ("x86_64",),
}
"""Architecture -> how its triples begin."""

_FLAGS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "aarch64": (("dotprod", "asimddp"), ("i8mm", "i8mm"), ("sve", "sve")),
    "x86_64": (
        ("avx2", "avx2"),
        ("avx512f", "avx512f"),
        ("avx512bw", "avx512bw"),
        ("avx512vnni", "avx512_vnni"),
        ("avxvnni", "avx_vnni"),
    ),
}
"""Architecture -> (LLVM's name of a feature, the flag of a host that has it)."""

_OWN_COMPILERS = ("g++", "c++", "clang++")


def device_for(name: str, host: Host) -> Device:
    """Return the device ``name`` of a resolved target.

    Raises:
        TargetError: It is a tag or dictionary that TVM does not take, or of something else than
            a processor.
        HostError: It is one of the two, and TVM is needed to look it up.
    """
    if name in ("", HOST):
        return _own(host)
    if name in DEVICES:
        return DEVICES[name]
    if name == CUDA:
        raise TargetError(f"nothing is compiled for {CUDA}: {why_no_cuda()}")
    return _spelled(name) if name.startswith("{") else _tagged(name)


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
    return _described(tag, found)


def _spelled(text: str) -> Device:
    """Return the device of a dictionary of TVM's, as JSON."""
    target = probe.load("tvm.target")
    try:
        found = target.Target(json.loads(text))
    except (ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1].partition(". Target creation")[0]
        raise TargetError(f"TVM takes no target {text}: {reason}") from error
    return _described(text, found)


def _described(name: str, target: Any) -> Device:  # noqa: ANN401 - a target of TVM's
    """Return the device that a target of TVM's describes.

    Raises:
        TargetError: It is no processor that there is a compiler for, or LLVM does not know it.
    """
    kind = str(target.kind.name)
    if kind != "llvm":
        raise TargetError(f"{name!r} is a {kind} target; bmopt compiles for processors")
    attributes = dict(target.attrs)
    mtriple = str(attributes.get("mtriple", ""))
    own = str(probe.load("tvm.target.codegen").llvm_get_system_triple())
    architecture = _architecture(name, mtriple or own)
    mcpu = str(attributes.get("mcpu", ""))
    _require_processor(name, mcpu, mtriple or own)
    flags = tuple(flag for feature, flag in _FLAGS.get(architecture, ()) if _has(feature, target))
    return Device(
        architecture,
        mtriple or own,
        mcpu,
        tuple(str(one) for one in attributes.get("mattr", ())),
        int(attributes.get("num-cores", 4)),
        flags=flags,
        scheme=_scheme_of(architecture, flags),
        extra={k: str(attributes[k]) for k in ("mabi", "mfloat-abi") if k in attributes},
    )


def _architecture(name: str, mtriple: str) -> str:
    """Return the architecture of a triple; LLVM crashes on one that it does not know."""
    first = mtriple.partition("-")[0]
    found = next((known for known, prefix in _PREFIXES.items() if first.startswith(prefix)), "")
    if not found:
        raise TargetError(f"{name!r} is for {first!r}; bmopt compiles for {', '.join(_COMPILERS)}")
    return found


def _require_processor(name: str, mcpu: str, mtriple: str) -> None:
    target = probe.load("tvm.target")
    # Asked for all of the architecture, without a word to the terminal about this one.
    plain = target.Target({"kind": "llvm", "mtriple": mtriple})
    names = [str(one) for one in target.codegen.llvm_get_cpu_archlist(plain)]
    if mcpu and mcpu not in names:
        near = difflib.get_close_matches(mcpu, names, n=3)
        advice = f"; did you mean {', '.join(near)}?" if near else ""
        raise TargetError(f"{name!r}: LLVM knows no processor {mcpu!r}{advice}")


def _has(feature: str, target: Any) -> bool:  # noqa: ANN401 - as above
    return bool(probe.load("tvm.target.codegen").target_has_features(feature, target))


def _scheme_of(architecture: str, flags: Collection[str]) -> str:
    """Return the class of processors of ``ort-int8`` that has the same instructions."""
    if architecture == "x86_64":
        if {"avx512_vnni", "avx_vnni"}.intersection(flags):
            return "x86-vnni"
        return "x86-avx512" if "avx512bw" in flags else "x86-avx2"
    return "arm64-dotprod" if "asimddp" in flags else "arm64"


def why_no_cuda() -> str:
    """Return why TVM compiles nothing for NVIDIA's GPUs here."""
    instead = "use ort-fp32:cuda, trt-fp32 or rtx-fp32"
    if not probe.load("tvm.runtime").enabled("cuda"):
        return f"the TVM that is installed was built without CUDA; {instead}"
    if not host_facts().gpus:
        return f"this host has no GPU; {instead}"
    return f"bmopt has no schedules for GPUs in TVM; {instead}"


def why_not_run(name: str, device: Device, host: Host) -> str:
    """Return why this host does not run what is compiled for ``device``; empty where it does."""
    if name in ("", HOST):
        return ""
    if name.startswith("{"):
        name = device.mcpu or device.mtriple
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
