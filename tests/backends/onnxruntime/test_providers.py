from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.backends.onnxruntime.providers import CUDA_OPTIONS, build_options, providers
from bmopt.core.engine import BuildOptions, Profile
from bmopt.errors import BuildError

NONE = BuildOptions()


def test_the_cuda_provider_stands_alone() -> None:
    assert providers("cuda", NONE, Path(), Path()) == (("CUDAExecutionProvider", CUDA_OPTIONS),)
    assert all(isinstance(value, str) for value in CUDA_OPTIONS.values())


def test_what_tensorrt_does_not_take_goes_to_the_cuda_provider() -> None:
    (first, options), (second, cuda) = providers("tensorrt", NONE, Path("/e"), Path("/t"))
    assert (first, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert cuda == CUDA_OPTIONS
    assert options == {
        "device_id": "0",
        "trt_fp16_enable": "0",
        "trt_int8_enable": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/e",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": "/t",
    }


def test_build_options_by_the_providers_names() -> None:
    shapes = {
        "image": Profile((1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8)),
        "mask": Profile((1,), (4,), (8,)),
    }
    build = BuildOptions(
        profiles=shapes, level=5, workspace_bytes=1 << 20, sparse=True, compat="hardware"
    )
    assert build_options(build) == {
        "trt_builder_optimization_level": "5",
        "trt_max_workspace_size": "1048576",
        "trt_sparsity_enable": "1",
        "trt_engine_hw_compatible": "1",
        "trt_profile_min_shapes": "image:1x3x8x8,mask:1",
        "trt_profile_opt_shapes": "image:4x3x8x8,mask:4",
        "trt_profile_max_shapes": "image:8x3x8x8,mask:8",
    }


@pytest.mark.parametrize(
    ("build", "option"),
    [
        (BuildOptions(compat="version"), "--compat version"),
        (BuildOptions(weight_streaming=True), "--weight-streaming"),
        (BuildOptions(refit=True), "--refit"),
        (BuildOptions(strip=True), "--strip"),
        (BuildOptions(dla=0), "--dla"),
    ],
)
def test_what_the_provider_cannot_do_is_refused(build: BuildOptions, option: str) -> None:
    with pytest.raises(BuildError, match=f"^{option}: ONNX Runtime's TensorRT provider cannot"):
        providers("tensorrt", build, Path(), Path())
