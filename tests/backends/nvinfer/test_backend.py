from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import pytest

from bmopt.backends.nvinfer import backend as module
from bmopt.backends.nvinfer import sdk
from bmopt.backends.nvinfer.backend import NvinferBackend
from bmopt.core.host import Gpu, host_facts
from bmopt.core.target import Target


@pytest.fixture(autouse=True)
def _bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def _host(monkeypatch: pytest.MonkeyPatch, *computes: str) -> None:
    gpus = tuple(Gpu("a GPU", "580", 1 << 33, compute) for compute in computes)
    host = dataclasses.replace(host_facts(query_gpus=str), gpus=gpus)
    monkeypatch.setattr(module, "host_facts", lambda: host)


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
    _sdk(monkeypatch, "8.6.1")
    _host(monkeypatch, "8.7")
    assert "TensorRT 8.6.1 is too old" in _probe("trt-int8").reason


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
    assert other.reason.startswith("the GPU here is sm89")


@pytest.mark.parametrize("engine", ["trt", "rtx"])
def test_running_needs_cuda_bindings(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    def find_spec(name: str) -> object:
        raise ModuleNotFoundError(name)

    _sdk(monkeypatch, "11.0")
    _host(monkeypatch, "8.9")
    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    found = _probe(f"{engine}-fp16")
    assert (found.build, found.run) == (True, False)
    assert found.reason.startswith(
        f"cuda.bindings is not installed (pip install 'bmopt[{engine}]')"
    )


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
