from __future__ import annotations

import pytest

from bmopt.backends.onnxruntime import backend
from bmopt.backends.tvm import probe as tvm
from bmopt.core.target import DEVICES, all_targets
from bmopt.workflow import hosting
from bmopt.workflow.hosting import diagnose, targets
from tests.backends.fake_hosts import host


def test_every_target_and_device_has_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "host_facts", lambda **_: host("x86_64", "avx2"))
    found = {status.target: status for status in targets()}
    heads = [name for name in all_targets() if name.startswith(("ort-", "tvm-"))]
    devices = [f"{name}:{device}" for name in heads for device in DEVICES[name]]
    assert set(found) == {*all_targets(), *devices, "openvino"}
    assert found["ort-int8"].run
    assert found["rtx-fp8"].devices == ("sm89", "sm120", "sm121")
    assert found["ort-fp16:cuda"].devices == ()
    assert not found["ort-int8:arm64"].run
    assert found["ort-int8:arm64"].compile
    assert found["ort-fp16:cuda"].compile
    assert all(bool(s.reason) is not (s.run and s.build) for s in found.values())
    assert all(s.compile or not s.build for s in found.values())


def test_a_host_that_no_scheme_knows_has_a_status_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "host_facts", lambda **_: host("riscv64"))
    found = {status.target: status for status in targets()}
    assert found["ort-fp32"].run
    assert not found["ort-int8"].compile
    assert not found["ort-int8:x86-vnni"].run


def test_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {**vars(host("x86_64", "avx2")), "governor": "powersave", "cpu_quota": 2.0}
    monkeypatch.setattr(hosting, "host_facts", lambda: type(host(""))(**facts))
    found = {finding.name: finding for finding in diagnose()}
    assert "no integer dot product" in found["cpu features"].advice
    assert found["cores"].advice == "this process may use 2: set threads accordingly"
    assert "performance" in found["governor"].advice
    assert found["memory"].value == "1.0 GiB"
    assert {"onnxruntime", "numpy"} <= set(found)


def test_another_pair_of_tvm_is_advised_against(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm, "found_pair", lambda: {**tvm.PAIR, "apache-tvm-ffi": "0.1.15.post2"})
    found = {finding.name: finding for finding in diagnose()}["tvm pair"]
    assert found.value == "tested: apache-tvm 0.27.0.post1 with apache-tvm-ffi 0.1.14.post0"
    assert "apache-tvm-ffi 0.1.15.post2 is no tested pair" in found.advice
    monkeypatch.setattr(tvm, "found_pair", dict)
    assert "tvm pair" not in {finding.name for finding in diagnose()}


def test_a_good_host_needs_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "host_facts", lambda: host("x86_64", "avx_vnni"))
    assert not any(finding.advice for finding in diagnose())
