from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bmopt.backends.onnxruntime import backend as module
from bmopt.backends.onnxruntime import libraries
from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend
from bmopt.backends.registry import backend_for
from bmopt.core.host import Host
from bmopt.core.target import Target, all_targets
from bmopt.errors import TargetError
from tests.backends.fake_hosts import host
from tests.quantizing import CONV_NET, as_bytes, named, samples_for

BACKEND = OnnxRuntimeBackend()


def pretend(monkeypatch: pytest.MonkeyPatch, facts: Host) -> None:
    monkeypatch.setattr(module, "host_facts", lambda **_: facts)


def test_every_target_has_a_backend() -> None:
    for name in all_targets():
        target = Target.parse(name)
        own = isinstance(backend_for(target), OnnxRuntimeBackend)
        assert own == (target.engine == "ort")


def test_this_host_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, host("aarch64", "asimddp"))
    assert BACKEND.resolve(Target("ort", "int8")) == Target("ort", "int8", "arm64-dotprod")
    assert BACKEND.resolve(Target("ort", "int8", "x86-avx2")).device == "x86-avx2"
    for text in ("ort-fp32", "ort-fp32:cuda", "ort-fp16:tensorrt", "ort-int8:tensorrt"):
        assert BACKEND.resolve(Target.parse(text)) == Target.parse(text)


def test_a_target_of_this_host_compiles_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, host("x86_64", "avx512_vnni"))
    for text in ("ort-fp32", "ort-int8", "ort-int8:x86-vnni", "ort-int8:x86-avx2"):
        able = BACKEND.probe(Target.parse(text))
        assert (able.compile, able.run, able.reason) == (True, True, "")
        assert able.version == importlib.metadata.version("onnxruntime")


def test_a_foreign_target_compiles_and_says_why_it_does_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, host("x86_64", "avx2"))
    able = BACKEND.probe(Target.parse("ort-int8:arm64"))
    assert (able.compile, able.run) == (True, False)
    assert able.reason == "made for arm64, this host is x86-avx2"


def test_a_host_without_scheme_compiles_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, host("riscv64"))
    own = BACKEND.probe(Target.parse("ort-int8"))
    assert (own.compile, own.run) == (False, False)
    assert "no INT8 scheme for 'riscv64'" in own.reason
    other = BACKEND.probe(Target.parse("ort-int8:x86-avx2"))
    assert (other.compile, other.run) == (True, False)
    assert BACKEND.probe(Target.parse("ort-fp32")).run
    with pytest.raises(TargetError):
        BACKEND.resolve(Target.parse("ort-int8"))


def test_a_missing_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    able = BACKEND.probe(Target.parse("ort-fp32"))
    assert not able.compile
    assert "pip install onnxruntime" in able.reason


def test_a_build_under_another_package_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> NoReturn:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    able = BACKEND.probe(Target.parse("ort-fp32"))
    assert able.run
    assert able.version


def test_probing_asks_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def facts(**options: Any) -> Host:
        asked.append(options["query_gpus"]())
        return host("x86_64", "avx2")

    monkeypatch.setattr(module, "host_facts", facts)
    BACKEND.probe(Target.parse("ort-int8"))
    assert asked
    assert not any(asked)


def test_a_model_opens_in_every_way(tmp_path: Path) -> None:
    model = named(CONV_NET)
    path = tmp_path / "model.onnx"
    path.write_bytes(as_bytes(model))
    feeds = samples_for(model, count=2)
    runners = (
        BACKEND.open(path, Target.parse("ort-int8:x86-vnni"), threads=1),
        BACKEND.open_graph(path, threads=1),
        BACKEND.open_checked(model),
        BACKEND.open_tapped(model, threads=1),
    )
    for runner in runners:
        with runner as opened:
            assert opened.output_names == ("y",)
            assert opened.run(feeds)["y"].shape == (2, 5)


def test_half_precision_needs_a_device() -> None:
    reason = (
        "ort-fp16 needs a device: ort-fp16:cuda or ort-fp16:tensorrt; float16 is slower than "
        "float32 on CPUs"
    )
    with pytest.raises(TargetError) as caught:
        BACKEND.resolve(Target.parse("ort-fp16"))
    assert str(caught.value) == reason
    able = BACKEND.probe(Target.parse("ort-fp16"))
    assert (able.compile, able.build, able.run, able.reason) == (False, False, False, reason)
    assert able.version


@pytest.mark.parametrize("reason", ["", "no NVIDIA GPU"])
@pytest.mark.parametrize("text", ["ort-fp32:cuda", "ort-fp16:cuda", "ort-int8:tensorrt"])
def test_a_gpu_target_compiles_everywhere_and_runs_where_nothing_lacks(
    monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    pretend(monkeypatch, host("riscv64"))
    monkeypatch.setattr(libraries, "lacks", lambda device: reason)
    able = BACKEND.probe(Target.parse(text))
    assert able.compile
    assert able.run is not bool(reason)
    assert able.reason == reason


def test_tensorrt_quantises_by_its_own_rules() -> None:
    scheme = BACKEND.scheme(Target.parse("ort-int8:tensorrt"))
    assert scheme.activation.symmetric
    assert scheme.side == "inputs"
    assert not scheme.quantize_bias
    assert BACKEND.scheme(Target.parse("ort-int8:arm64")).side == "outputs"
