"""``bmopt targets`` and ``bmopt doctor``: what this host can do, and what stands in its way."""

from __future__ import annotations

import dataclasses

from bmopt.backends.openvino.probe import probe as probe_openvino
from bmopt.backends.registry import backend_for
from bmopt.backends.tvm import probe as tvm
from bmopt.core.capabilities import Capabilities
from bmopt.core.host import Host, host_facts, versions
from bmopt.core.target import DEVICES, Target, all_targets

_GIB = 1 << 30
_GPU_ENGINES = ("trt", "rtx")


@dataclasses.dataclass(frozen=True)
class TargetStatus:
    """Whether a target can be compiled, built and run here, and why not.

    Attributes:
        target: The target, with a device or without; the name of an engine that only runs files.
        compile: As in ``Capabilities``, and so are ``build``, ``run``, ``reason`` and ``version``.
        devices: The devices that can be named behind it.
    """

    target: str
    compile: bool
    build: bool
    run: bool
    reason: str
    version: str
    devices: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One fact about the host; ``advice`` is empty where nothing needs to be done."""

    name: str
    value: str
    advice: str = ""


def targets() -> list[TargetStatus]:
    """Return the status of every target, and of its devices where they differ in what they need.

    The GPUs that an engine is built for differ in nothing here, processors and providers do.
    Engines that only run files come last.
    """
    names = []
    for name in all_targets():
        names.append(name)
        if not Target.parse(name).engine.startswith(_GPU_ENGINES):
            names.extend(f"{name}:{device}" for device in DEVICES[name])
    return [*map(_status, names), _shown("openvino", probe_openvino(), ())]


def diagnose() -> list[Finding]:
    """Return what a person should know before they trust a measurement on this host."""
    host = host_facts()
    return [
        Finding("cpu", f"{host.vendor} {host.model} ({host.architecture})"),
        _isa(host),
        _cores(host),
        _governor(host),
        Finding("memory", _gib(host.memory_bytes)),
        Finding("system", f"{host.os}, kernel {host.kernel}, Python {host.python}"),
        Finding("gpus", ", ".join(str(gpu) for gpu in host.gpus) or "none"),
        *(Finding(name, version) for name, version in versions().items()),
        *_tvm(),
    ]


def _status(name: str) -> TargetStatus:
    target = Target.parse(name)
    devices = () if target.device else DEVICES[target.head]
    return _shown(name, backend_for(target).probe(target), devices)


def _shown(name: str, able: Capabilities, devices: tuple[str, ...]) -> TargetStatus:
    return TargetStatus(
        name, able.compile, able.build, able.run, able.reason, able.version, devices
    )


def _isa(host: Host) -> Finding:
    flags = " ".join(host.flags) or "none of interest"
    fast = {"avx512_vnni", "avx_vnni", "asimddp"} & set(host.flags)
    advice = "" if fast else "no integer dot product: INT8 may be slower than FP32 here"
    return Finding("cpu features", flags, advice)


def _cores(host: Host) -> Finding:
    value = f"{host.physical_cores or '?'} physical, {host.logical_cores or '?'} logical"
    usable = host.cpu_quota or host.affinity
    if usable is None or host.logical_cores is None or usable >= host.logical_cores:
        return Finding("cores", value)
    return Finding("cores", value, f"this process may use {usable:g}: set threads accordingly")


def _governor(host: Host) -> Finding:
    governor = host.governor or "unknown"
    slow = governor in ("powersave", "ondemand", "schedutil", "conservative")
    advice = "clocks follow the load: set 'performance' for steadier latencies" if slow else ""
    return Finding("governor", governor, advice)


def _tvm() -> list[Finding]:
    """Return what is to be said of TVM's packages, nothing where they are not installed."""
    found = tvm.found_pair()
    if not found:
        return []
    pair = " with ".join(f"{name} {version}" for name, version in tvm.PAIR.items())
    return [Finding("tvm pair", f"tested: {pair}", tvm.why_not(found))]


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / _GIB:.1f} GiB"
