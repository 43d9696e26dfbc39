from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from bmopt.backends.onnxruntime import gpu_session
from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend
from bmopt.backends.onnxruntime.gpu_session import open_gpu
from bmopt.backends.onnxruntime.libraries import lacks
from bmopt.backends.onnxruntime.providers import CUDA_OPTIONS
from bmopt.backends.onnxruntime.session import KEEP_QDQ, SessionConfig, open_file
from bmopt.core.engine import BuildOptions
from bmopt.core.target import Target
from bmopt.errors import HostError, ModelError, OutputError
from tests.backends.onnxruntime.pretend_gpu import pretend
from tests.quantizing import CONV_NET, as_bytes, named, quantized, samples_for

DAMAGED = "TensorRT EP could not deserialize engine from cache: /x/graph_sm90.engine"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(as_bytes(named(CONV_NET)))
    return path


def test_cuda_is_asked_for_by_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = pretend(monkeypatch, tmp_path / "cache")
    with OnnxRuntimeBackend().open(model, Target.parse("ort-fp32:cuda"), threads=3) as runner:
        assert runner.run(samples_for(named(CONV_NET), count=2))["y"].shape == (2, 5)
    (opened,) = sessions.opened
    assert opened.providers == [("CUDAExecutionProvider", CUDA_OPTIONS)]
    assert opened.entries == {"session.record_ep_graph_assignment_info": "1"}
    assert opened.level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert opened.threads == 3
    assert not (tmp_path / "cache").exists()


def test_tensorrt_gets_the_graph_as_it_is_and_folders_that_exist(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = pretend(monkeypatch, tmp_path / "cache")
    backend, options_given = OnnxRuntimeBackend(), BuildOptions(level=4)
    with backend.open(model, Target.parse("ort-int8:tensorrt"), options=options_given):
        pass
    (opened,) = sessions.opened
    (name, options), (second, _) = opened.providers
    assert (name, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert options["trt_builder_optimization_level"] == "4"
    assert Path(options["trt_engine_cache_path"]).is_dir()
    assert Path(options["trt_timing_cache_path"]).is_dir()
    assert opened.entries == {"session.record_ep_graph_assignment_info": "1", **KEEP_QDQ}
    assert opened.level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_provider_that_does_not_start_is_an_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    refused = ("CUDAExecutionProvider",) if device == "cuda" else ("TensorrtExecutionProvider",)
    pretend(monkeypatch, tmp_path / "cache", refused)
    with pytest.raises(HostError, match=f"could not start {refused[0]} and would run it on"):
        open_gpu(model, device)


def test_a_host_without_the_device_says_why(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_session, "lacks", lambda device: f"no {device} today")
    with pytest.raises(HostError, match=r"does not run on cuda here: no cuda today$"):
        open_gpu(model, "cuda")


def test_an_engine_that_was_cut_short_is_built_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path / "cache")
    open_gpu(model, "tensorrt")
    engines = [folder for folder in (tmp_path / "cache").glob("*/??/*") if folder.is_dir()]
    for folder in engines:
        (folder / "graph_sm90.engine").write_bytes(b"half of i")
    sessions = pretend(monkeypatch, tmp_path / "cache", errors=[RuntimeError(DAMAGED)])
    open_gpu(model, "tensorrt")
    first, second = sessions.opened
    assert first == second
    own = Path(first.providers[0][1]["trt_engine_cache_path"])
    assert list(own.iterdir()) == []
    assert len(list((tmp_path / "cache").rglob("*.engine"))) == len(engines) - 1


def test_an_engine_that_stays_damaged_ends_in_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = pretend(monkeypatch, tmp_path / "cache", errors=[RuntimeError(DAMAGED)] * 2)
    with pytest.raises(ModelError, match=r"refuses it .*deserialize engine"):
        open_gpu(model, "tensorrt")
    assert len(sessions.opened) == 2


def test_a_refusal_is_not_tried_twice(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = pretend(monkeypatch, tmp_path / "cache", errors=[RuntimeError("no kernel")])
    with pytest.raises(ModelError, match="no kernel"):
        open_gpu(model, "tensorrt")
    assert len(sessions.opened) == 1


def test_a_cache_that_cannot_be_made_is_an_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    pretend(monkeypatch, tmp_path / "file")
    with pytest.raises(OutputError, match=r"cannot be made .*; set BMOPT_CACHE_DIR"):
        open_gpu(model, "tensorrt")


def ops_seen(path: Path, entries: dict[str, str]) -> Counter[str]:
    """Return the ops that ONNX Runtime hands to its providers."""
    dump = path.with_suffix(".dump.onnx")
    with open_file(path, SessionConfig(threads=1, level="basic", dump=dump, entries=entries)):
        pass
    return Counter(node.op_type for node in onnx.load(dump).graph.node)


def test_the_entries_leave_pairs_and_weights_to_tensorrt(tmp_path: Path) -> None:
    model, _ = quantized(named(CONV_NET))
    path = tmp_path / "q.onnx"
    path.write_bytes(as_bytes(model))
    source = Counter(node.op_type for node in model.graph)
    assert ops_seen(path, KEEP_QDQ) == source
    assert ops_seen(path, {}) != source, "ONNX Runtime adds pairs of its own"
    first = dict([next(iter(KEEP_QDQ.items()))])
    assert ops_seen(path, first)["DequantizeLinear"] < source["DequantizeLinear"], "folded weights"


def gpu(device: str) -> pytest.MarkDecorator:
    reason = lacks(device)
    return pytest.mark.skipif(bool(reason), reason=reason)


ON_CUDA = pytest.param("cuda", marks=gpu("cuda"))
ON_TENSORRT = pytest.param("tensorrt", marks=gpu("tensorrt"))


@pytest.mark.gpu
@pytest.mark.parametrize("device", [ON_CUDA, ON_TENSORRT])
def test_a_gpu_agrees_with_the_cpu(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setenv("BMOPT_CACHE_DIR", str(tmp_path / "cache"))
    feeds = samples_for(named(CONV_NET), count=2)
    with open_file(model) as reference:
        expected = reference.run(feeds)["y"]
    with open_gpu(model, device) as runner:
        # TF32 keeps ten bits of a factor's mantissa.
        np.testing.assert_allclose(runner.run(feeds)["y"], expected, rtol=1e-2, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("device", [ON_TENSORRT])
def test_an_engine_is_found_again_and_one_that_is_damaged_is_replaced(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setenv("BMOPT_CACHE_DIR", str(tmp_path / "cache"))
    feeds = samples_for(named(CONV_NET), count=1)
    with open_gpu(model, device) as runner:
        expected = runner.run(feeds)["y"]
    (engine,) = (tmp_path / "cache").rglob("*.engine")
    written = engine.stat().st_mtime_ns
    with open_gpu(model, device) as runner:
        runner.run(feeds)
    assert engine.stat().st_mtime_ns == written
    engine.write_bytes(engine.read_bytes()[:100])
    with open_gpu(model, device) as runner:
        np.testing.assert_allclose(runner.run(feeds)["y"], expected, rtol=1e-2, atol=1e-2)
