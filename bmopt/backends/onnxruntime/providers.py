"""Options of ONNX Runtime's GPU providers.

Element types are the graph's alone. The TensorRT provider makes a strongly typed network as long
as ``trt_fp16_enable`` and ``trt_int8_enable`` are off (``CreateNodeComputeInfoFromGraph`` in
tensorrt_execution_provider.cc); with either of them TensorRT may choose other types, and
TensorRT 11 has neither. Q/DQ nodes need no flag then.

The CUDA provider's options are those that ONNX Runtime documents as its defaults, written out so
that an artifact does not change with them: all of cuDNN's algorithms are timed on the first run
with as much scratch memory as they like, and float32 products may round their factors to TF32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bmopt.backends.onnxruntime.libraries import PROVIDERS
from bmopt.backends.onnxruntime.session import Provider
from bmopt.core.engine import BuildOptions, Profile
from bmopt.errors import BuildError

CUDA_OPTIONS: dict[str, str] = {
    "device_id": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "cudnn_conv_use_max_workspace": "1",
    "use_tf32": "1",
}


def providers(
    device: str,
    build: BuildOptions,
    engines: Path,
    timings: Path,
) -> tuple[Provider, ...]:
    """Return the providers of a device with their options, most wanted first.

    Args:
        device: ``"cuda"`` or ``"tensorrt"``.
        build: How TensorRT builds engines.
        engines: Folder of this model's engines.
        timings: Folder of the kernels' timings, shared by all models.

    Raises:
        BuildError: The provider has no such option.
    """
    options: dict[str, Mapping[str, str]] = {"CUDAExecutionProvider": CUDA_OPTIONS}
    if device == "tensorrt":
        options["TensorrtExecutionProvider"] = tensorrt_options(build, engines, timings)
    return tuple((name, options[name]) for name in PROVIDERS[device])


def tensorrt_options(build: BuildOptions, engines: Path, timings: Path) -> dict[str, str]:
    """Return the TensorRT provider's options.

    Raises:
        BuildError: The provider has no such option.
    """
    _require_supported(build)
    return {
        "device_id": "0",
        "trt_fp16_enable": "0",
        "trt_int8_enable": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(timings),
        **build_options(build),
    }


def build_options(build: BuildOptions) -> dict[str, str]:
    """Return the options that change an engine."""
    options: dict[str, str] = {}
    if build.level is not None:
        options["trt_builder_optimization_level"] = str(build.level)
    if build.workspace_bytes:
        options["trt_max_workspace_size"] = str(build.workspace_bytes)
    if build.sparse:
        options["trt_sparsity_enable"] = "1"
    if build.compat == "hardware":
        options["trt_engine_hw_compatible"] = "1"
    if build.profiles:
        options["trt_profile_min_shapes"] = _shapes(build.profiles, "min")
        options["trt_profile_opt_shapes"] = _shapes(build.profiles, "opt")
        options["trt_profile_max_shapes"] = _shapes(build.profiles, "max")
    return options


def _shapes(profiles: Mapping[str, Profile], which: str) -> str:
    """Return ``input:1x3x224x224,other:1x8``."""
    return ",".join(
        f"{name}:{'x'.join(map(str, getattr(profile, which)))}"
        for name, profile in profiles.items()
    )


def _require_supported(build: BuildOptions) -> None:
    wanted = {
        "--compat version": build.compat == "version",
        "--weight-streaming": build.weight_streaming,
        "--refit": build.refit,
        "--strip": build.strip,
        # Its DLA support needs the builder's precision flags.
        "--dla": build.dla is not None,
    }
    for option, given in wanted.items():
        if given:
            raise BuildError(
                f"{option}: ONNX Runtime's TensorRT provider cannot do this; use a trt target"
            )
