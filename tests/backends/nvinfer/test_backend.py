from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from bmopt.backends.nvinfer import backend as module
from bmopt.backends.nvinfer import own_gpus, runtime, sdk
from bmopt.backends.nvinfer.backend import NvinferBackend
from bmopt.core.cuda_driver import CudaGpu
from bmopt.core.engine import BuildOptions
from bmopt.core.host import Gpu, host_facts
from bmopt.core.target import Target


@pytest.fixture(autouse=True)
def _bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def _host(monkeypatch: pytest.MonkeyPatch, *computes: str) -> None:
    sms = tuple(f"sm{compute.replace('.', '')}" for compute in computes)
    monkeypatch.setattr(module, "own_sms", lambda: sms)


def _sdk(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(sdk, "find", lambda engine: bool(version))
    monkeypatch.setattr(sdk, "version", lambda engine: version)


def _probe(text: str) -> Any:
    target = Target.parse(text)
    return NvinferBackend(target.engine).probe(target)


def test_without_tensorrt_the_graph_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    _sdk(monkeypatch, "")
    _host(monkeypatch)
    found = _probe("trt-int8")
    assert (found.compile, found.build, found.run, found.version) == (True, False, False, "")
    assert found.reason == (
        "TensorRT is not installed (pip install 'bmopt[trt]'): "
        "the graph is made here, its engine on the device"
    )


def test_tensorrt_without_a_gpu_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _sdk(monkeypatch, "11.4.1")
    _host(monkeypatch)
    found = _probe("trt-fp16")
    assert (found.compile, found.build, found.run, found.version) == (True, False, False, "11.4.1")
    assert found.reason.startswith("TensorRT finds no NVIDIA GPU: the graph is made here")


def test_tensorrt_with_a_gpu_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    _sdk(monkeypatch, "10.16.1")
    _host(monkeypatch, "9.0")
    found = _probe("trt-int8")
    assert (found.compile, found.build, found.run, found.reason) == (True, True, True, "")


def test_an_old_tensorrt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch, "8.7")
    for version in ("8.6.1", "10.0.1"):
        _sdk(monkeypatch, version)
        assert f"TensorRT {version} is too old (10.3 or newer)" in _probe("trt-int8").reason
    _sdk(monkeypatch, "10.3.0")
    assert _probe("trt-int8").run


def test_rtx_builds_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _sdk(monkeypatch, "1.7.1")
    _host(monkeypatch)
    found = _probe("rtx-int8:sm89")
    assert (found.compile, found.build, found.run) == (True, True, False)
    assert found.reason == "no NVIDIA GPU: engines are built here and run elsewhere"


def test_rtx_runs_on_the_gpu_it_was_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _sdk(monkeypatch, "1.7.1")
    _host(monkeypatch, "8.9")
    assert _probe("rtx-int8:sm86+sm89").run
    other = _probe("rtx-int8:sm86")
    assert (other.build, other.run) == (True, False)
    assert other.reason.startswith("the GPU here is sm89:")


def test_the_gpu_that_counts_is_cuda_s_first(monkeypatch: pytest.MonkeyPatch) -> None:
    _sdk(monkeypatch, "1.7.1")
    _host(monkeypatch, "8.9", "8.6")
    assert _probe("rtx-int8:sm89").run
    other = _probe("rtx-int8:sm86")
    assert not other.run
    assert other.reason.startswith("CUDA's first GPU here is sm89 (CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize("text", ["rtx-int8", "rtx-int8:sm89", "rtx-fp8"])
def test_rtx_says_that_it_has_no_data_centre_gpu(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    _sdk(monkeypatch, "1.7.1")
    _host(monkeypatch, "9.0")
    found = _probe(text)
    assert (found.compile, found.build, found.run) == (True, True, False)
    precision = Target.parse(text).precision
    assert found.reason == (
        "the GPU here is sm90, which TensorRT-RTX does not support "
        f"(trt-{precision} does): engines are built here and run elsewhere"
    )


@pytest.mark.parametrize(("cuda", "sms"), [
    ((CudaGpu("Orin", "8.7", 1 << 33, "12.6"), CudaGpu("b", "12.0", 1, "12.6")),
     ("sm87", "sm120")),
    ((), ()),
    (None, ("sm86",)),
])  # fmt: skip
def test_cuda_knows_better_than_nvidia_smi_which_gpus_it_uses(
    monkeypatch: pytest.MonkeyPatch, cuda: tuple[CudaGpu, ...] | None, sms: tuple[str, ...]
) -> None:
    told = (Gpu("A2", "550", 1, "8.6"), Gpu("old", "550", 1, ""))
    host = dataclasses.replace(host_facts(query_gpus=str), gpus=told)
    monkeypatch.setattr(own_gpus, "host_facts", lambda: host)
    monkeypatch.setattr(own_gpus, "cuda_gpus", lambda: cuda)
    assert own_gpus.own_sms() == sms


def test_an_engine_is_opened_as_it_was_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        runtime, "open_engine", lambda path, engine, **options: seen.update(options)
    )
    options = BuildOptions(dla=1, compat="version", cuda_graph=True)
    NvinferBackend("trt").open(tmp_path / "e", Target("trt", "int8"), options=options)
    assert seen == {"dla": 1, "host_code": True, "cuda_graph": True, "cache": None}


@pytest.mark.parametrize("engine", ["trt", "rtx"])
def test_running_needs_cuda_bindings(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    def find_spec(name: str) -> object:
        raise ModuleNotFoundError(name)

    _sdk(monkeypatch, "11.0")
    _host(monkeypatch, "8.9")
    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    found = _probe(f"{engine}-fp16")
    assert (found.build, found.run) == (True, False)
    assert found.reason.startswith("cuda.bindings is not installed (pip install 'cuda-bindings")


def test_the_bindings_to_install_are_those_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_gpus, "cuda_gpus", lambda: (CudaGpu("Orin", "8.7", 1, "12.6"),))
    assert own_gpus.bindings_package() == "cuda-bindings==12.*"
    monkeypatch.setattr(own_gpus, "cuda_gpus", lambda: None)
    assert own_gpus.bindings_package() == "cuda-bindings"


@pytest.mark.parametrize(
    ("text", "computes", "resolved"),
    [
        ("rtx-int8", (), "rtx-int8:sm80+sm86+sm89+sm120"),
        ("rtx-fp8", (), "rtx-fp8:sm89+sm120"),
        ("rtx-int8", ("8.9",), "rtx-int8:sm89"),
        ("rtx-int8", ("8.6", "12.0", "8.6"), "rtx-int8:sm86+sm120"),
        ("rtx-int8", ("9.0",), "rtx-int8:sm80+sm86+sm89+sm120"),
        ("rtx-fp8", ("8.6",), "rtx-fp8:sm89+sm120"),
        ("rtx-fp16:sm75", ("8.9",), "rtx-fp16:sm75"),
        ("trt-int8", ("8.9",), "trt-int8"),
    ],
)
def test_resolves_to_the_gpu_here_or_the_usual_ones(
    monkeypatch: pytest.MonkeyPatch, text: str, computes: tuple[str, ...], resolved: str
) -> None:
    _host(monkeypatch, *computes)
    target = Target.parse(text)
    found = NvinferBackend(target.engine).resolve(target)
    assert str(found) == resolved
    assert Target.parse(str(found)) == found


@pytest.mark.parametrize("engine", ["trt", "rtx"])
@pytest.mark.parametrize(("precision", "dtype"), [("int8", "int8"), ("fp8", "float8e4m3fn")])
def test_has_a_scheme_for_each_8_bit_precision(engine: str, precision: str, dtype: str) -> None:
    scheme = NvinferBackend(engine).scheme(Target(engine, precision))
    assert (scheme.side, scheme.activation.dtype, scheme.quantize_bias) == ("inputs", dtype, False)
