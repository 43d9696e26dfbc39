from __future__ import annotations

import gc
import struct
import weakref
from pathlib import Path
from typing import Any

import pytest

from bmopt.backends.nvinfer.device import Cuda
from bmopt.backends.nvinfer.loading import LoadedEngine, RunOptions, load_engine
from bmopt.backends.nvinfer.sdk_log import SdkLog, sdk_logger
from bmopt.errors import ArtifactError, BmoptError, HostError, UsageError
from tests.backends.nvinfer.fake_cuda import FakeCuda
from tests.backends.nvinfer.fake_runtime import (
    CudaGraphStrategy,
    DynamicShapesKernelSpecializationStrategy,
    EngineInvalidityDiagnostics,
    EngineValidity,
    FakeEngine,
    FakeSdk,
    FakeTensor,
)

VERSION = "10.16.1.11"


def _engine(**fields: Any) -> FakeEngine:
    return FakeEngine((FakeTensor("x", (2,)),), FakeCuda(), [], **fields)


def _file(
    tmp_path: Path, engine: str, version: str = VERSION, mask: int = 8, size: int = 36
) -> Path:
    tag = b"vtrt" if engine == "rtx" else b"ftrt"
    numbers = (int(part) for part in version.split("."))
    path = tmp_path / "engine"
    path.write_bytes(struct.pack("<4sI8xQ4B4sI", tag, 0, size, *numbers, tag, mask))
    return path


def _load(tmp_path: Path, sdk: FakeSdk, engine: str = "trt", **options: Any) -> LoadedEngine:
    version = "1.7.1.116" if engine == "rtx" else VERSION
    path = _file(tmp_path, engine, version)
    return load_engine(sdk, Cuda(FakeCuda()), engine, path, RunOptions(**options))


def _line(error: BmoptError) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_tensorrt_s_context_is_created_without_arguments(tmp_path: Path) -> None:
    engine = _engine()
    sdk = FakeSdk(engine)
    loaded = _load(tmp_path, sdk)
    assert engine.calls == [("create_execution_context",)]
    assert not sdk.runtimes[0].engine_host_code_allowed
    assert loaded.context is not None
    loaded.close()
    assert loaded.context is None
    assert loaded.engine is None


def test_host_code_is_allowed_where_asked_for(tmp_path: Path) -> None:
    sdk = FakeSdk(_engine())
    _load(tmp_path, sdk, host_code=True)
    assert sdk.runtimes[0].engine_host_code_allowed


@pytest.mark.parametrize(
    ("version", "size", "reason"),
    [
        (VERSION, 1000, "is truncated: 36 of 1000 bytes"),
        ("10.7.0.23", 36, "was built by TensorRT 10.7.0.23, and this is 10.16.1.11"),
        (VERSION, 36, "TensorRT 10.16.1.11 refuses it"),
    ],
)
def test_a_refused_engine_says_why_what_the_sdk_said_and_what_to_do(
    tmp_path: Path, version: str, size: int, reason: str
) -> None:
    says = (
        ("INFO", "Loaded engine size: 0 MiB"),
        ("ERROR", "Error Code 6: expecting compute\n8.9 got compute 8.6"),
        ("ERROR", "where it was caught"),
    )
    path = _file(tmp_path, "trt", version, size=size)
    with pytest.raises(ArtifactError) as caught:
        load_engine(FakeSdk(None, says=says), Cuda(FakeCuda()), "trt", path, RunOptions())
    assert _line(caught.value) == (
        f"{path}: {reason} (Error Code 6: expecting compute 8.9 got compute 8.6); "
        "run `bmopt build ARTIFACT` on this device"
    )


def test_an_engine_without_room_on_the_gpu_is_the_host_s_fault(tmp_path: Path) -> None:
    says = (("ERROR", "Error Code 1: Cuda Runtime (out of memory)"),)
    with pytest.raises(HostError, match=r"not enough memory.*out of memory"):
        _load(tmp_path, FakeSdk(None, says=says))


def test_a_runtime_that_does_not_start_is_the_host_s_fault(tmp_path: Path) -> None:
    class Broken(FakeSdk):
        @property
        def Runtime(self) -> Any:  # noqa: N802
            raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.raises(HostError, match="TensorRT does not start here"):
        _load(tmp_path, Broken(_engine()))


def test_a_context_that_does_not_fit_is_the_host_s_fault(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no execution context on this GPU"):
        _load(tmp_path, FakeSdk(_engine(contexts=0)))


@pytest.mark.parametrize(
    ("diagnosis", "error", "says"),
    [
        ("VERSION_MISMATCH", ArtifactError, "TensorRT-RTX 1.7.1.116 refuses it .version_mismatch"),
        ("MALFORMED_ENGINE", ArtifactError, "malformed_engine"),
        ("OLD_CUDA_DRIVER", HostError, "driver is too old"),
        ("INSUFFICIENT_GPU_MEMORY", HostError, "not enough memory"),
        ("CUDA_ERROR", HostError, "CUDA does not work here"),
    ],
)
def test_the_diagnosis_of_tensorrt_rtx_is_told(
    tmp_path: Path, diagnosis: str, error: type[BmoptError], says: str
) -> None:
    bits = int(EngineInvalidityDiagnostics[diagnosis])
    sdk = FakeSdk(_engine(), "1.7.1.116", validity=(EngineValidity.INVALID, bits))
    with pytest.raises(error, match=says) as caught:
        _load(tmp_path, sdk, "rtx")
    _line(caught.value)


def test_tensorrt_rtx_names_the_gpus_that_an_engine_is_for(tmp_path: Path) -> None:
    bits = int(EngineInvalidityDiagnostics.UNSUPPORTED_CC)
    sdk = FakeSdk(_engine(), "1.7.1.116", validity=(EngineValidity.INVALID, bits))
    path = _file(tmp_path, "rtx", "1.7.1.116", mask=0b10100)
    with pytest.raises(ArtifactError, match=r"was built for sm86\+sm120, and this GPU is sm89"):
        load_engine(sdk, Cuda(FakeCuda()), "rtx", path, RunOptions())


def test_a_suboptimal_engine_runs_with_a_warning(tmp_path: Path) -> None:
    sdk = FakeSdk(_engine(), "1.7.1.116", validity=(EngineValidity.SUBOPTIMAL, 1))
    loaded = _load(tmp_path, sdk, "rtx")
    assert loaded.warnings == [
        "TensorRT-RTX expects it to run slower than it could (version_mismatch)"
    ]


def test_tensorrt_rtx_s_context_is_created_from_a_configuration(tmp_path: Path) -> None:
    engine = _engine()
    _load(tmp_path, FakeSdk(engine, "1.7.1.116"), "rtx", cuda_graph=True, specialization="lazy")
    assert engine.calls == [("create_execution_context", engine.config)]
    assert engine.config.cuda_graph_strategy == CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    assert engine.config.dynamic_shapes_kernel_specialization_strategy == (
        DynamicShapesKernelSpecializationStrategy.LAZY
    )
    assert engine.config.cache is None


def test_a_runtime_cache_is_read_before_and_written_after(tmp_path: Path) -> None:
    cache = tmp_path / "kept" / "kernels"
    first = _load(tmp_path, FakeSdk(_engine(), "1.7.1.116"), "rtx", cache=cache)
    assert not cache.exists()
    first.close()
    assert cache.read_bytes() == b"cache with kernels"
    engine = _engine()
    second = _load(tmp_path, FakeSdk(engine, "1.7.1.116"), "rtx", cache=cache)
    written = cache.stat().st_mtime_ns
    second.close()
    assert engine.calls[0] == ("cache.deserialize", b"cache with kernels")
    assert engine.config.cache is not None
    assert second.warnings == []
    assert cache.stat().st_mtime_ns == written, "nothing new, nothing written"


def test_a_runtime_cache_that_does_not_fit_is_replaced(tmp_path: Path) -> None:
    cache = tmp_path / "kernels"
    cache.write_bytes(b"of another GPU")
    loaded = _load(tmp_path, FakeSdk(_engine(), "1.7.1.116"), "rtx", cache=cache)
    loaded.close()
    assert "another GPU" in loaded.warnings[0]
    assert cache.read_bytes() == b"cache with kernels"


def test_a_runtime_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = tmp_path / "file" / "kernels"
    loaded = _load(tmp_path, FakeSdk(_engine(), "1.7.1.116"), "rtx", cache=cache)
    loaded.close()
    assert "is not kept" in loaded.warnings[-1]


@pytest.mark.parametrize(
    ("budget", "streams"), [(0, True), (60, True), (100, False), (500, False)]
)
def test_the_weights_are_limited_before_the_context_is_created(
    tmp_path: Path, budget: int, streams: bool
) -> None:
    class Capped(FakeEngine):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "weight_streaming_budget_v2":
                value = min(value, 100)
                self.calls.append((name, value))
            super().__setattr__(name, value)

    engine = Capped((FakeTensor("x", (2,)),), FakeCuda(), [], streamable_weights_size=100)
    engine.calls.clear()
    loaded = _load(tmp_path, FakeSdk(engine), weight_budget_bytes=budget)
    assert [call[0] for call in engine.calls] == [
        "weight_streaming_budget_v2",
        "create_execution_context",
    ]
    assert engine.weight_streaming_budget_v2 == min(budget, 100)
    assert loaded.streams_weights == streams


@pytest.mark.parametrize(
    ("size", "budget", "says"), [(0, 10, "without weight streaming"), (100, -1, "is negative")]
)
def test_a_weight_budget_that_makes_no_sense_is_refused(
    tmp_path: Path, size: int, budget: int, says: str
) -> None:
    sdk = FakeSdk(_engine(streamable_weights_size=size))
    with pytest.raises(UsageError, match=says):
        _load(tmp_path, sdk, weight_budget_bytes=budget)


def test_a_weight_budget_that_the_sdk_ignores_is_an_error(tmp_path: Path) -> None:
    class Deaf(FakeEngine):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, 100 if name == "weight_streaming_budget_v2" else value)

    engine = Deaf((FakeTensor("x", (2,)),), FakeCuda(), [], streamable_weights_size=100)
    with pytest.raises(HostError, match="budget of 50 bytes is refused"):
        _load(tmp_path, FakeSdk(engine), weight_budget_bytes=50)


def test_a_weight_budget_may_be_rounded(tmp_path: Path) -> None:
    class Rounding(FakeEngine):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value // 8 * 8 if name.endswith("budget_v2") else value)

    engine = Rounding((FakeTensor("x", (2,)),), FakeCuda(), [], streamable_weights_size=100)
    assert _load(tmp_path, FakeSdk(engine), weight_budget_bytes=50).streams_weights


def test_the_core_is_named_before_the_engine_is_opened(tmp_path: Path) -> None:
    for core in (1, None):
        sdk = FakeSdk(_engine())
        _load(tmp_path, sdk, dla=core)
        assert sdk.runtimes[0].core_when_opened == (-1 if core is None else core)


def test_a_damaged_engine_is_no_lack_of_memory(tmp_path: Path) -> None:
    says = (("ERROR", "Error Code 3: API Usage Error (empty memory buffer)"),)
    with pytest.raises(ArtifactError, match=r"refuses it .*empty memory buffer"):
        _load(tmp_path, FakeSdk(None, says=says))


def test_what_the_context_points_to_lives_until_it_is_gone(tmp_path: Path) -> None:
    engine = _engine()
    loaded = _load(tmp_path, FakeSdk(engine, "1.7.1.116"), "rtx")
    config = weakref.ref(engine.config)
    engine.config = None
    engine.calls.clear()
    assert config() is not None
    loaded.close()
    assert config() is None


def test_a_logger_outlives_what_it_was_made_for() -> None:
    logger = weakref.ref(sdk_logger(FakeSdk(None), SdkLog()))
    gc.collect()
    assert logger() is not None


def test_a_log_keeps_the_first_errors_only() -> None:
    log = SdkLog()
    for number in range(1000):
        log.add("ERROR", f"error {number}")
    assert log.cause == "error 0"
    assert len(log._errors) < 100


_CALLED = {
    "Runtime": "DLA_core deserialize_cuda_engine engine_host_code_allowed get_engine_validity",
    "ICudaEngine": """create_execution_context create_runtime_config get_tensor_dtype
        get_tensor_location get_tensor_mode get_tensor_name get_tensor_profile_shape
        get_tensor_profile_values get_tensor_shape num_io_tensors num_optimization_profiles
        streamable_weights_size weight_streaming_budget_v2""",
    "IExecutionContext": """execute_async_v3 get_tensor_shape infer_shapes set_input_shape
        set_optimization_profile_async set_output_allocator set_tensor_address""",
    "IRuntimeConfig": """create_runtime_cache cuda_graph_strategy
        dynamic_shapes_kernel_specialization_strategy set_runtime_cache""",
    "IRuntimeCache": "deserialize serialize",
    "CudaGraphStrategy": "DISABLED WHOLE_GRAPH_CAPTURE",
    "DynamicShapesKernelSpecializationStrategy": "EAGER LAZY NONE",
    "EngineValidity": "VALID SUBOPTIMAL INVALID",
    "TensorIOMode": "INPUT OUTPUT",
    "TensorLocation": "DEVICE HOST",
}


@pytest.mark.parametrize("kind", _CALLED)
def test_the_real_sdk_has_everything_that_is_called(kind: str) -> None:
    sdk = pytest.importorskip("tensorrt_rtx")
    real = getattr(sdk, kind)
    assert [name for name in _CALLED[kind].split() if not hasattr(real, name)] == []


def test_the_real_diagnoses_are_the_known_ones() -> None:
    real = pytest.importorskip("tensorrt_rtx").EngineInvalidityDiagnostics.__members__
    known = EngineInvalidityDiagnostics.__members__
    assert {name: int(bit) for name, bit in real.items()} == {n: int(b) for n, b in known.items()}


def test_the_real_sdk_s_errors_are_kept_and_not_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    sdk = pytest.importorskip("tensorrt_rtx")
    log = SdkLog()
    assert sdk.Runtime(sdk_logger(sdk, log)).deserialize_cuda_engine(b"") is None
    assert "empty memory buffer" in log.cause
    log.clear()
    assert log.because() == ""
    assert capfd.readouterr() == ("", "")
