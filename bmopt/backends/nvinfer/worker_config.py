"""The builder's configuration, inside the builder's process. What a version has is asked of it."""

from __future__ import annotations

import os
from pathlib import Path

from bmopt.backends.nvinfer.build_spec import BuildSpec
from bmopt.backends.nvinfer.native import Native
from bmopt.core.files import atomic_file
from bmopt.errors import BuildError, OutputError


def configure(sdk: Native, builder: Native, spec: BuildSpec) -> Native:
    """Return the builder's configuration for a build.

    Raises:
        BuildError: This version of the SDK lacks what an option asks for.
    """
    config = builder.create_builder_config()
    config.profiling_verbosity = sdk.ProfilingVerbosity.DETAILED
    if spec.options.level is not None:
        config.builder_optimization_level = spec.options.level
    if spec.options.workspace_bytes:
        config.set_memory_pool_limit(sdk.MemoryPoolType.WORKSPACE, spec.options.workspace_bytes)
    _name_devices(sdk, config, spec)
    _set_compat(sdk, config, spec)
    for flag in _flags(spec):
        config.set_flag(_member(sdk, spec, "BuilderFlag", flag))
    # TensorRT 10.7 has timing caches that are not editable, which serve as well.
    if spec.options.timing_cache and hasattr(sdk.BuilderFlag, "EDITABLE_TIMING_CACHE"):
        config.set_flag(sdk.BuilderFlag.EDITABLE_TIMING_CACHE)
    if spec.options.dla is not None:
        _use_dla(sdk, builder, config, spec, spec.options.dla)
    return config


def _flags(spec: BuildSpec) -> list[str]:
    options = spec.options
    # Without weights a plan has to be one that can be refitted, with the same ones at least.
    refit = "REFIT" if options.refit else "REFIT_IDENTICAL" if options.strip else ""
    asked = {
        refit: bool(refit),
        "STRIP_PLAN": options.strip,
        "WEIGHT_STREAMING": options.weight_streaming,
        "SPARSE_WEIGHTS": options.sparse,
    }
    return [flag for flag, wanted in asked.items() if wanted]


def _name_devices(sdk: Native, config: Native, spec: BuildSpec) -> None:
    if not spec.devices:
        return
    config.num_compute_capabilities = len(spec.devices)
    for index, device in enumerate(spec.devices):
        capability = _member(sdk, spec, "ComputeCapability", device.upper())
        config.set_compute_capability(capability, index)


def _set_compat(sdk: Native, config: Native, spec: BuildSpec) -> None:
    if spec.options.compat == "version":
        config.set_flag(_member(sdk, spec, "BuilderFlag", "VERSION_COMPATIBLE"))
    elif spec.options.compat == "hardware":
        level = _member(sdk, spec, "HardwareCompatibilityLevel", "AMPERE_PLUS")
        config.hardware_compatibility_level = level


def _use_dla(sdk: Native, builder: Native, config: Native, spec: BuildSpec, core: int) -> None:
    cores = getattr(builder, "num_DLA_cores", 0)
    if core >= cores:
        have = f"has {cores} DLA cores" if cores else "has no DLA here"
        raise BuildError(f"DLA core {core}: {spec.name} {_version(sdk)} {have}; leave it out")
    config.default_device_type = _member(sdk, spec, "DeviceType", "DLA")
    config.DLA_core = core
    config.set_flag(_member(sdk, spec, "BuilderFlag", "GPU_FALLBACK"))


def _member(sdk: Native, spec: BuildSpec, enum: str, name: str) -> Native:
    found = getattr(getattr(sdk, enum, None), name, None)
    if found is None:
        raise BuildError(
            f"{spec.name} {_version(sdk)} has no {enum}.{name}; leave that option out"
        )
    return found


def _version(sdk: Native) -> str:
    return str(getattr(sdk, "__version__", ""))


def read_timing_cache(config: Native, path: Path) -> str:
    """Let ``config`` use the timings in ``path``, or new ones; return a warning or nothing."""
    data = path.read_bytes() if path.is_file() else b""
    cache = _timing_cache(config, data)
    if cache is not None and config.set_timing_cache(cache, False):
        return ""
    config.set_timing_cache(_timing_cache(config, b""), False)
    return f"{path}: timing cache of another version or GPU; its timings are not used"


def _timing_cache(config: Native, data: bytes) -> Native:
    try:
        return config.create_timing_cache(data)
    except (RuntimeError, TypeError):
        # What the bindings make of a null pointer.
        return None


def write_timing_cache(config: Native, path: Path) -> str:
    """Write the timings of a build to ``path``; return a warning or nothing."""
    try:
        with atomic_file(path) as scratch:
            scratch.write_bytes(memoryview(config.get_timing_cache().serialize()))
    except OutputError as error:
        return f"{error}; the timings of this build are lost"
    return ""


def flush_to_disk(path: Path) -> None:
    """Wait until ``path`` is on the disk, so that a full one is found out now."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
