from __future__ import annotations

import numpy as np
import pytest

from bmopt.backends.nvinfer.loading import RunOptions
from tests.backends.nvinfer.fake_cuda import cudaError_t
from tests.backends.nvinfer.fake_runtime import FakeTensor
from tests.backends.nvinfer.test_runtime import BATCHES, open_fake

GRAPH = RunOptions(cuda_graph=True)


def _rows(count: int, start: float = 0.0) -> np.ndarray:
    return np.arange(count * 4, dtype=np.float32).reshape(count, 4) + np.float32(start)


def test_the_first_run_is_plain_and_the_second_captures_before_the_clock_starts() -> None:
    runner, engine, fake = open_fake(*BATCHES, options=GRAPH)
    runner.run({"x": _rows(2)})
    assert "cudaStreamBeginCapture" not in fake.names
    fake.calls.clear()
    assert runner.run({"x": _rows(2, 1)})["y"].tolist() == _rows(2, 1).tolist()
    assert fake.names == [
        "cudaStreamBeginCapture",
        "cudaStreamEndCapture",
        "cudaGraphInstantiate",
        "cudaGraphDestroy",
        "cudaMemcpyAsync",
        "cudaEventRecord",
        "cudaGraphLaunch",
        "cudaEventRecord",
        "cudaMemcpyAsync",
        "cudaStreamSynchronize",
        "cudaEventElapsedTime",
    ]
    engine.calls.clear()
    assert runner.run({"x": _rows(2, 2)})["y"].tolist() == _rows(2, 2).tolist()
    assert engine.calls == [], "a launch does not go through the engine"
    assert runner.warnings == ()


def test_other_shapes_are_captured_anew() -> None:
    runner, _, fake = open_fake(*BATCHES, options=GRAPH)
    for size in (2, 2, 3, 3, 2, 2):
        assert runner.run({"x": _rows(size, size)})["y"].tolist() == _rows(size, size).tolist()
    assert fake.names.count("cudaGraphInstantiate") == 3
    assert fake.names.count("cudaGraphLaunch") == 3
    assert fake.names.count("cudaGraphExecDestroy") == 2


def test_without_being_asked_nothing_is_captured() -> None:
    runner, _, fake = open_fake(*BATCHES)
    for _ in range(3):
        runner.run({"x": _rows(2)})
    assert "cudaStreamBeginCapture" not in fake.names


def test_tensorrt_rtx_captures_by_itself() -> None:
    runner, engine, fake = open_fake(*BATCHES, options=GRAPH, kind="rtx")
    for _ in range(3):
        runner.run({"x": _rows(2)})
    assert "cudaStreamBeginCapture" not in fake.names
    assert engine.config.cuda_graph_strategy.name == "WHOLE_GRAPH_CAPTURE"


@pytest.mark.parametrize("fails", ["cudaStreamBeginCapture", "cudaStreamEndCapture", ""])
def test_where_it_cannot_be_captured_it_runs_plainly_and_says_so_once(fails: str) -> None:
    runner, _, fake = open_fake(*BATCHES, options=GRAPH, captures=bool(fails))
    if fails:
        fake.fails[fails] = cudaError_t.cudaErrorStreamCaptureUnsupported
    for start in range(4):
        assert runner.run({"x": _rows(2, start)})["y"].tolist() == _rows(2, start).tolist()
    assert fake.names.count("cudaStreamBeginCapture") == 1
    (warning,) = runner.warnings
    assert warning.startswith("runs without a CUDA graph: ")


def test_shapes_that_depend_on_data_are_not_captured() -> None:
    runner, _, fake = open_fake(
        FakeTensor("x", (2, 4)),
        FakeTensor("y", (-1, 4), copies="x", late=True),
        options=GRAPH,
    )
    for _ in range(3):
        runner.run({"x": _rows(2)})
    assert "cudaStreamBeginCapture" not in fake.names
    assert runner.warnings == (
        "runs without a CUDA graph: the shape of an output depends on the data",
    )


def test_streamed_weights_are_not_captured() -> None:
    options = RunOptions(cuda_graph=True, weight_budget_bytes=0)
    runner, _, fake = open_fake(*BATCHES, options=options, streamable_weights_size=100)
    for _ in range(3):
        runner.run({"x": _rows(2)})
    assert "cudaStreamBeginCapture" not in fake.names
    assert "weights are streamed" in runner.warnings[0]
