from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from bmopt.backends.nvinfer import runtime
from bmopt.backends.nvinfer.device import Cuda
from bmopt.backends.nvinfer.loading import LoadedEngine, RunOptions
from bmopt.backends.nvinfer.runtime import EngineRunner, open_engine, start
from bmopt.core.runner import DeviceTimed
from bmopt.errors import ArtifactError, DataError, HostError
from tests.backends.nvinfer.fake_cuda import FakeCuda, cudaError_t
from tests.backends.nvinfer.fake_runtime import FakeEngine, FakeSdk, FakeTensor

SMALL = ((1, 4), (2, 4), (8, 4))
LARGE = ((1, 4), (16, 4), (64, 4))
BATCHES = (FakeTensor("x", (-1, 4), profiles=(SMALL,)), FakeTensor("y", (-1, 4), copies="x"))


def open_fake(
    *tensors: FakeTensor,
    options: RunOptions | None = None,
    kind: Any = "trt",
    version: str = "10.16.1",
    **fields: Any,
) -> tuple[EngineRunner, FakeEngine, FakeCuda]:
    options = options or RunOptions()
    fake = FakeCuda()
    engine = FakeEngine(tensors, fake, [], **fields)
    # What load_engine makes.
    loaded = LoadedEngine(FakeSdk(engine, version), kind, Path("engine"))
    loaded.engine = engine
    if options.weight_budget_bytes is not None:
        loaded.limit_weights(options.weight_budget_bytes)
    loaded.create_context(options)
    engine.calls.clear()
    runner = start(loaded, Cuda(fake), options)
    fake.calls.clear()
    return runner, engine, fake


def _rows(count: int) -> np.ndarray:
    return np.arange(count * 4, dtype=np.float32).reshape(count, 4)


def test_one_run_makes_these_calls_in_this_order() -> None:
    runner, engine, fake = open_fake(*BATCHES)
    feeds = {"x": _rows(3)}
    outputs = runner.run(feeds)
    assert outputs["y"].tolist() == feeds["x"].tolist()
    assert [call[0] for call in engine.calls] == [
        "set_input_shape",
        "set_tensor_address",
        "infer_shapes",
        "set_tensor_address",
        "execute_async_v3",
    ]
    assert engine.calls[0] == ("set_input_shape", "x", (3, 4))
    assert [name for name in fake.names if "alloc" not in name.lower()] == [
        "cudaMemcpyAsync",
        "cudaEventRecord",
        "cudaEventRecord",
        "cudaMemcpyAsync",
        "cudaStreamSynchronize",
        "cudaEventElapsedTime",
    ]


def test_the_same_shapes_again_need_no_more_than_the_run_itself() -> None:
    runner, engine, fake = open_fake(*BATCHES)
    first = runner.run({"x": _rows(3)})["y"]
    engine.calls.clear()
    fake.calls.clear()
    second = runner.run({"x": _rows(3) + 1})["y"]
    assert [call[0] for call in engine.calls] == ["execute_async_v3"]
    assert not any("alloc" in name.lower() for name in fake.names)
    assert first.tolist() == _rows(3).tolist(), "outputs are fresh arrays"
    assert second.tolist() == (_rows(3) + 1).tolist()


def test_memory_grows_with_the_shapes_and_is_kept_for_smaller_ones() -> None:
    runner, engine, fake = open_fake(
        FakeTensor("x", (-1, 4), profiles=(((1, 4), (1, 4), (64, 4)),)),
        FakeTensor("y", (-1, 4), copies="x"),
    )
    for size in (1, 64, 2, 64):
        assert runner.run({"x": _rows(size)})["y"].tolist() == _rows(size).tolist()
    assert fake.names.count("cudaMalloc") == 4
    assert fake.names.count("cudaFree") == 2
    assert [call[2] for call in engine.calls if call[0] == "set_input_shape"] == [
        (1, 4),
        (64, 4),
        (2, 4),
        (64, 4),
    ]


def test_a_static_engine_is_told_no_shapes() -> None:
    runner, engine, _ = open_fake(FakeTensor("x", (2, 4)), FakeTensor("y", (2, 4), copies="x"))
    assert runner.run({"x": _rows(2)})["y"].tolist() == _rows(2).tolist()
    assert "set_input_shape" not in [call[0] for call in engine.calls]


@pytest.mark.parametrize(
    ("element", "dtype"),
    [
        ("HALF", np.float16),
        ("BF16", ml_dtypes.bfloat16),
        ("FP8", ml_dtypes.float8_e4m3fn),
        ("INT8", np.int8),
        ("INT64", np.int64),
        ("BOOL", np.bool_),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)])
def test_all_element_types_and_ranks_go_through(
    element: str, dtype: Any, shape: tuple[int, ...]
) -> None:
    runner, _, _ = open_fake(
        FakeTensor("x", shape, element), FakeTensor("y", shape, element, copies="x")
    )
    values = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    got = runner.run({"x": values})["y"]
    assert got.dtype == np.dtype(dtype)
    assert got.shape == shape
    assert got.tolist() == values.tolist()


def test_the_profile_that_fits_is_selected_before_the_shapes() -> None:
    runner, engine, _ = open_fake(
        FakeTensor("x", (-1, 4), profiles=(SMALL, LARGE)),
        FakeTensor("y", (-1, 4), copies="x"),
        num_optimization_profiles=2,
    )
    for size in (2, 64, 64, 2):
        runner.run({"x": _rows(size)})
    calls = [call for call in engine.calls if call[0].startswith(("set_opt", "set_input"))]
    assert [call[:2] for call in calls] == [
        ("set_input_shape", "x"),
        ("set_optimization_profile_async", 1),
        ("set_input_shape", "x"),
        ("set_optimization_profile_async", 0),
        ("set_input_shape", "x"),
    ]


def test_a_shape_outside_the_profile_does_not_reach_the_engine() -> None:
    runner, engine, fake = open_fake(*BATCHES)
    with pytest.raises(DataError, match=r"9x4, .* 1x4 to 8x4"):
        runner.run({"x": _rows(9)})
    assert engine.calls == []
    assert fake.names == []
    assert runner.run({"x": _rows(8)})["y"].shape == (8, 4)


def test_shapes_that_do_not_go_together_are_the_data_s_fault() -> None:
    runner, engine, _ = open_fake(*BATCHES, shapes_agree=False)
    with pytest.raises(DataError, match="do not go together"):
        runner.run({"x": _rows(2)})
    engine.shapes_agree = True
    assert runner.run({"x": _rows(2)})["y"].shape == (2, 4)


@pytest.mark.parametrize(
    ("kind", "version", "asked"),
    [("trt", "10.3.0", False), ("trt", "10.13.0.35", True), ("trt", "11.4.0", True),
     ("rtx", "1.7.1", True)],
)  # fmt: skip
def test_bindings_that_would_crash_are_not_asked(kind: str, version: str, asked: bool) -> None:
    runner, engine, _ = open_fake(*BATCHES, kind=kind, version=version)
    assert runner.run({"x": _rows(2)})["y"].tolist() == _rows(2).tolist()
    assert (("infer_shapes",) in engine.calls) == asked
    engine.shapes_agree = False
    with pytest.raises(DataError, match="do not go together"):
        runner.run({"x": _rows(3)})


def test_a_profile_that_cannot_be_selected_is_an_error() -> None:
    runner, _, _ = open_fake(
        FakeTensor("x", (-1, 4), profiles=(SMALL, LARGE)),
        FakeTensor("y", (-1, 4), copies="x"),
        num_optimization_profiles=2,
        profiles_switch=False,
    )
    with pytest.raises(HostError, match="refuses optimisation profile 1"):
        runner.run({"x": _rows(64)})
    assert runner.run({"x": _rows(2)})["y"].shape == (2, 4)


def test_after_a_failure_the_stream_is_waited_for_before_memory_is_used_again() -> None:
    runner, _, fake = open_fake(*BATCHES, executes=False)
    with pytest.raises(HostError, match="refuses to run"):
        runner.run({"x": _rows(2)})
    assert fake.names[-1] == "cudaStreamSynchronize"


def test_an_input_in_host_memory_is_there_before_shapes_are_inferred() -> None:
    runner, engine, fake = open_fake(
        FakeTensor("shape", (2,), "INT64", host=True, values=(((1, 1), (2, 2), (9, 9)),)),
        FakeTensor("seen", (2,), "INT64", host=True, copies="shape"),
    )
    assert runner.run({"shape": np.array([3, 4])})["seen"].tolist() == [3, 4]
    assert [call[0] for call in engine.calls] == [
        "set_tensor_address",
        "set_tensor_address",
        "infer_shapes",
        "execute_async_v3",
    ]
    assert "cudaMalloc" not in fake.names
    assert "cudaMemcpyAsync" not in fake.names
    engine.calls.clear()
    assert runner.run({"shape": np.array([5, 6])})["seen"].tolist() == [5, 6]
    assert ("infer_shapes",) in engine.calls, "other values may mean other shapes"


def test_an_output_whose_shape_depends_on_the_data_gets_memory_when_asked() -> None:
    runner, engine, fake = open_fake(
        FakeTensor("x", (-1, 4), profiles=(LARGE,)),
        FakeTensor("found", (-1, 4), copies="x", late=True),
    )
    for size in (2, 64, 1):
        assert runner.run({"x": _rows(size)})["found"].tolist() == _rows(size).tolist()
    assert [call for call in engine.calls if call[0] == "set_output_allocator"] == [
        ("set_output_allocator", "found")
    ]
    runner.close()
    assert fake.memory == {}


def test_no_memory_for_such_an_output_is_told_as_what_it_is() -> None:
    runner, _, fake = open_fake(
        FakeTensor("x", (2,), "INT64", host=True),
        FakeTensor("found", (-1,), "INT64", copies="x", late=True),
    )
    fake.fails["cudaMalloc"] = cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(HostError, match="cudaErrorMemoryAllocation"):
        runner.run({"x": np.array([1, 2])})
    fake.fails.clear()
    assert runner.run({"x": np.array([1, 2])})["found"].tolist() == [1, 2]


def test_an_engine_that_does_not_run_is_an_error() -> None:
    runner, _, _ = open_fake(*BATCHES, executes=False)
    with pytest.raises(HostError, match="the engine refuses to run"):
        runner.run({"x": _rows(2)})


def test_an_error_of_the_gpu_has_cuda_s_name() -> None:
    runner, _, fake = open_fake(*BATCHES)
    fake.fails["cudaStreamSynchronize"] = cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(HostError, match="cudaErrorIllegalAddress"):
        runner.run({"x": _rows(2)})
    runner.close()


def test_the_device_s_time_is_that_of_the_last_run() -> None:
    runner, _, _ = open_fake(*BATCHES)
    assert isinstance(runner, DeviceTimed)
    assert runner.device_ns is None
    runner.run({"x": _rows(2)})
    assert runner.device_ns == 250_000


def test_closing_frees_everything_once() -> None:
    runner, _, fake = open_fake(*BATCHES, options=RunOptions(cuda_graph=True))
    with runner:
        for _ in range(3):
            runner.run({"x": _rows(2)})
    runner.close()
    assert fake.memory == {}
    assert fake.alive == {}


def test_what_cannot_be_opened_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(LoadedEngine, "close", lambda self: closed.append(True))
    with pytest.raises(ArtifactError, match="INT4"):
        open_fake(FakeTensor("x", (2,), "INT4"))
    assert closed == [True]


def test_output_names_are_in_the_engine_s_order() -> None:
    runner, _, _ = open_fake(
        FakeTensor("x", (2,)), FakeTensor("b", (2,), copies="x"), FakeTensor("a", (2,), copies="x")
    )
    assert runner.output_names == ("b", "a")
    assert list(runner.run({"x": np.zeros(2, np.float32)})) == ["b", "a"]


@pytest.mark.parametrize("kind", ["trt", "rtx"])
def test_a_file_that_is_no_engine_is_refused_first(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "engine.plan"
    path.write_bytes(b"\x08\x08 an ONNX file" * 9)
    with pytest.raises(ArtifactError, match="is no TensorRT engine"):
        open_engine(path, kind)


def test_a_missing_sdk_is_told_before_a_missing_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(engine: str) -> None:
        raise HostError(f"{engine} is not installed")

    monkeypatch.setattr(runtime.sdk, "load", missing)
    path = tmp_path / "engine.plan"
    path.write_bytes(b"ftrt" + bytes(60))
    with pytest.raises(HostError, match="trt is not installed"):
        open_engine(path, "trt")
