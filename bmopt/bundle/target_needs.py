"""What a host must have to run an artifact, from its target and engine."""

from __future__ import annotations

import dataclasses

from bmopt.bundle.manifest import Needs, RuntimeNeed
from bmopt.core.target import Target
from bmopt.errors import BundleError

ENGINE_NAMES = {
    "ort": "onnxruntime",
    "trt": "tensorrt",
    "rtx": "tensorrt_rtx",
    "tvm": "tvm",
}
"""Engine of a target -> its name in a manifest."""

OLDEST_ORT = "1.23"
_OPSET_OF_OLDEST = 23
_OLDEST_BUILDERS = {"trt": "10.3", "rtx": "1.0"}

_CPU: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "x86-vnni": ("x86_64-linux", (("avx512_vnni", "avx_vnni"),)),
    "x86-avx512": ("x86_64-linux", (("avx512f",),)),
    "x86-avx2": ("x86_64-linux", (("avx2",),)),
    "arm64-dotprod": ("aarch64-linux", (("asimddp",),)),
    "arm64": ("aarch64-linux", ()),
}
"""Device of ONNX Runtime's CPU kernels -> platform, and the flags that it has to have."""


@dataclasses.dataclass(frozen=True)
class EngineFacts:
    """What an artifact says of the engine that was built.

    Attributes:
        version: Of the SDK that built it.
        devices: The GPUs that it was built for.
        is_portable: Whether newer versions run it too.
        flags: Instruction sets that it was compiled for.
    """

    version: str
    devices: tuple[str, ...]
    is_portable: bool
    flags: tuple[str, ...] = ()


def require_target(target: Target, platform: str, where: str) -> None:
    """Check that an artifact for ``target`` can be in a bundle for ``platform``.

    Raises:
        BundleError: It cannot; the message names the target to compile for.
    """
    if target.engine != "ort" or not target.device:
        return
    if target.device not in _CPU:
        raise BundleError(
            f"{where}: {target} runs on ONNX Runtime's GPU provider, which bundles do not carry; "
            f"compile for trt-{target.precision}"
        )
    own, _ = _CPU[target.device]
    if own != platform:
        other = "ort-int8:arm64-dotprod" if platform.startswith("aarch64") else "ort-int8:x86-vnni"
        raise BundleError(
            f"{where}: is for {target}, which does not run on {platform}; compile for {other}"
        )


def needs_of(target: Target, made_with: str, engine: EngineFacts | None, opset: int) -> Needs:
    """Return what an artifact needs.

    Args:
        target: What it was made for.
        made_with: Version of the runtime that it was tried with; empty where there was none.
        engine: What was built; None where the graph is run or the engine built on the device.
        opset: Of the graph: one that is newer than the oldest runtime wants the newer runtime.
    """
    name = ENGINE_NAMES[target.engine]
    if target.engine == "ort":
        _, flags = _CPU.get(target.device, ("", ()))
        oldest = OLDEST_ORT if opset <= _OPSET_OF_OLDEST else made_with or OLDEST_ORT
        return Needs(flags, (), RuntimeNeed(name, oldest, "", made_with))
    if target.engine == "tvm":
        flags = () if engine is None else tuple((flag,) for flag in engine.flags)
        # No version is older or newer: the pair of libraries that compiled it runs it.
        return Needs(flags, (), RuntimeNeed(name, "", "", made_with))
    if engine is None:
        oldest = _OLDEST_BUILDERS[target.engine]
        return Needs((), target.devices, RuntimeNeed(name, oldest, "", made_with))
    runtime = RuntimeNeed(name, engine.version, _below(engine), engine.version)
    return Needs((), engine.devices, runtime)


def _below(engine: EngineFacts) -> str:
    """Return the first version that does not run an engine.

    An engine is for the version that built it, unless it was built to be version compatible.
    """
    if engine.is_portable:
        return ""
    *head, last = engine.version.split(".")
    return ".".join([*head, str(int(last) + 1)]) if last.isdigit() else ""
