"""Engines on a real GPU, compared with ONNX Runtime; what was seen is recorded as properties.

``pytest -m gpu --junitxml=gpu.xml tests/backends/nvinfer`` keeps the properties.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from bmopt.backends.nvinfer import sdk
from bmopt.backends.nvinfer.device import device_count, sm_of, why_no_gpu
from bmopt.backends.nvinfer.engine_file import read_header
from bmopt.backends.nvinfer.runtime import open_engine
from bmopt.core.engine import BuildOptions, Profile
from bmopt.core.target import DEVICES, Target
from bmopt.errors import ArtifactError, DataError, HostError

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(280)]

_HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'
_CONVNET = (
    _HEAD
    + """g (float[N,3,16,16] x) => (float[N,10] y) {
    a = Conv<pads=[1,1,1,1]>(x, w)
    b = Relu(a)
    c = GlobalAveragePool(b)
    d = Flatten(c)
    y = MatMul(d, v)
}"""
)
_HALVES = _HEAD + "g (float16[2,8] x) => (float16[2,8] y) { y = Add(x, x) }"
_TWO_INPUTS = _HEAD + "g (float[N,8] a, float[M,8] b) => (float[K,8] y) { y = Add(a, b) }"
_NON_ZERO = _HEAD + "g (float[4,4] x) => (int64[2,M] y) { y = NonZero(x) }"
_SPANS = {"x": Profile((1, 3, 16, 16), (4, 3, 16, 16), (8, 3, 16, 16))}
_TF32 = 5e-3
"""TensorRT multiplies float32 with 10 bits of mantissa unless told otherwise."""

Facts = Callable[[str, object], None]


@pytest.fixture(scope="module", params=["trt", "rtx"])
def kind(request: pytest.FixtureRequest) -> Any:
    if reason := why_no_gpu():
        pytest.skip(reason)
    if not sdk.find(request.param):
        pytest.skip(sdk.missing(request.param))
    if request.param == "rtx" and sm_of() not in DEVICES["rtx-fp32"]:
        pytest.skip(f"TensorRT-RTX does not support this GPU ({sm_of()})")
    return request.param


def _model(text: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    shapes = {"w": (16, 3, 3, 3), "v": (16, 10)}
    read = {name for node in model.graph.node for name in node.input}
    for name, shape in shapes.items():
        if name in read:
            values = (rng.standard_normal(shape) * 0.2).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def _build(kind: Any, folder: Path, text: str, device: str = "", **options: Any) -> Path:
    from bmopt.backends.nvinfer.backend import NvinferBackend

    graph, path = folder / "graph.onnx", folder / "engine.plan"
    onnx.save(_model(text), graph)
    target = Target(kind, "fp32", (device or sm_of()) if kind == "rtx" else "")
    builder = NvinferBackend(kind).builder
    assert builder is not None
    builder.build(graph, path, target, BuildOptions(**options))
    return path


@pytest.fixture(scope="module")
def convnet(kind: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(kind, tmp_path_factory.mktemp(kind), _CONVNET, profiles=_SPANS)


def _images(size: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((size, 3, 16, 16)).astype(np.float32)}


def _expected(text: str, feeds: dict[str, np.ndarray]) -> np.ndarray:
    data = _model(text).SerializeToString()
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def test_this_gpu_is_seen(kind: Any, record_property: Facts) -> None:
    assert device_count() >= 1
    record_property("sm", sm_of())
    record_property(f"{kind}-version", sdk.version(kind))


def test_all_batches_give_what_onnx_runtime_gives(
    kind: Any, convnet: Path, record_property: Facts
) -> None:
    with open_engine(convnet, kind) as runner:
        assert runner.output_names == ("y",)
        for size in (4, 1, 8, 3, 8):
            feeds = _images(size, seed=size)
            expected = _expected(_CONVNET, feeds)
            got = runner.run(feeds)["y"]
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, expected, atol=_TF32 * np.abs(expected).max())
            record_property(f"{kind}-error-{size}", float(np.abs(got - expected).max()))
        record_property(f"{kind}-warnings", runner.warnings)


def test_the_device_s_time_is_part_of_the_wall_s(
    kind: Any, convnet: Path, record_property: Facts
) -> None:
    with open_engine(convnet, kind) as runner:
        assert runner.device_ns is None
        for _ in range(20):
            began = time.monotonic_ns()
            runner.run(_images(8))
            wall_ns = time.monotonic_ns() - began
            assert runner.device_ns is not None
            assert 0 < runner.device_ns <= wall_ns
        record_property(f"{kind}-device-ns", runner.device_ns)
        record_property(f"{kind}-wall-ns", wall_ns)


def test_a_cuda_graph_gives_the_same_bits(
    kind: Any, convnet: Path, record_property: Facts
) -> None:
    with open_engine(convnet, kind) as plain, open_engine(convnet, kind, cuda_graph=True) as graph:
        for size in (4, 4, 4, 8, 8, 8, 4, 4):
            feeds = _images(size, seed=size)
            np.testing.assert_array_equal(graph.run(feeds)["y"], plain.run(feeds)["y"])
        assert not [w for w in graph.warnings if "CUDA graph" in w]
        record_property(f"{kind}-graph-device-ns", graph.device_ns)


def test_a_batch_outside_the_profile_is_refused_and_the_next_one_runs(
    kind: Any, convnet: Path
) -> None:
    with open_engine(convnet, kind) as runner:
        with pytest.raises(DataError, match="1x3x16x16 to 8x3x16x16"):
            runner.run(_images(9))
        assert runner.run(_images(8))["y"].shape == (8, 10)


def test_shapes_that_do_not_go_together_are_refused_and_the_next_ones_run(
    kind: Any, tmp_path: Path, record_property: Facts
) -> None:
    span = Profile((1, 8), (4, 8), (8, 8))
    path = _build(kind, tmp_path, _TWO_INPUTS, profiles={"a": span, "b": span})

    def rows(count: int) -> np.ndarray:
        return np.ones((count, 8), np.float32)

    with open_engine(path, kind) as runner:
        with pytest.raises((DataError, HostError)) as caught:
            runner.run({"a": rows(3), "b": rows(5)})
        record_property(f"{kind}-mismatch", str(caught.value))
        for first, second in ((4, 4), (1, 8), (8, 1)):
            got = runner.run({"a": rows(first), "b": rows(second)})["y"]
            assert got.tolist() == (rows(first) + rows(second)).tolist()


def test_halves_stay_halves(kind: Any, tmp_path: Path) -> None:
    feeds = {"x": np.arange(16, dtype=np.float16).reshape(2, 8)}
    with open_engine(_build(kind, tmp_path, _HALVES), kind) as runner:
        got = runner.run(feeds)["y"]
    assert got.dtype == np.float16
    assert got.tolist() == (feeds["x"] * 2).tolist()


def test_an_output_s_shape_may_depend_on_the_data(kind: Any, tmp_path: Path) -> None:
    if kind == "rtx":
        pytest.skip("the parser of TensorRT-RTX 1.7 knows no NonZero")
    with open_engine(_build(kind, tmp_path, _NON_ZERO), kind, cuda_graph=True) as runner:
        for count in (3, 16, 0, 5):
            values = np.zeros(16, np.float32)
            values[:count] = 1
            feeds = {"x": values.reshape(4, 4)}
            assert runner.run(feeds)["y"].tolist() == _expected(_NON_ZERO, feeds).tolist()
        assert runner.warnings == (
            "runs without a CUDA graph: the shape of an output depends on the data",
        )


def test_a_truncated_engine_is_refused_in_one_line(
    kind: Any, convnet: Path, tmp_path: Path, record_property: Facts
) -> None:
    whole = convnet.read_bytes()
    record_property(f"{kind}-header", repr(read_header(convnet)))
    path = tmp_path / "engine.plan"
    for kept in (len(whole) - 1, len(whole) // 2, 100, 10):
        path.write_bytes(whole[:kept])
        with pytest.raises(ArtifactError, match="bmopt build") as caught:
            open_engine(path, kind)
        assert "\n" not in str(caught.value)
        record_property(f"{kind}-truncated-{kept}", str(caught.value))


def test_an_engine_for_another_gpu_is_refused_by_name(kind: Any, tmp_path: Path) -> None:
    if kind == "trt":
        pytest.skip("TensorRT builds for the GPU that it runs on only")
    other = "sm120" if sm_of() != "sm120" else "sm86"
    path = _build(kind, tmp_path, _HALVES, device=other)
    with pytest.raises(ArtifactError, match=f"built for {other}, and this GPU is {sm_of()}"):
        open_engine(path, kind)


def test_a_runtime_cache_is_kept(kind: Any, convnet: Path, tmp_path: Path) -> None:
    if kind == "trt":
        pytest.skip("TensorRT compiles nothing when it runs")
    cache = tmp_path / "kernels.cache"
    for _ in range(2):
        with open_engine(convnet, kind, cache=cache) as runner:
            runner.run(_images(4))
        assert not [w for w in runner.warnings if "cache" in w]
        assert cache.stat().st_size > 0


def test_weights_can_be_streamed(kind: Any, tmp_path: Path) -> None:
    if kind == "rtx":
        pytest.skip("streaming is checked on TensorRT")
    path = _build(kind, tmp_path, _CONVNET, profiles=_SPANS, weight_streaming=True)
    feeds = _images(4)
    expected = _expected(_CONVNET, feeds)
    with open_engine(path, kind, weight_streaming_budget=0, cuda_graph=True) as runner:
        for _ in range(3):
            got = runner.run(feeds)["y"]
            np.testing.assert_allclose(got, expected, atol=_TF32 * np.abs(expected).max())
        assert "weights are streamed" in "".join(runner.warnings)
