from __future__ import annotations

import pytest

from bmopt.backends.onnxruntime import backend
from bmopt.core.target import DEVICES, all_targets
from bmopt.workflow import hosting
from bmopt.workflow.hosting import diagnose, targets
from tests.backends.fake_hosts import host


def test_every_target_and_device_has_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "host_facts", lambda **_: host("x86_64", "avx2"))
    found = {status.target: status for status in targets()}
    assert set(found) == {*all_targets(), *(f"ort-int8:{d}" for d in DEVICES["ort"])}
    assert found["ort-int8"].run
    assert not found["ort-int8:arm64"].run
    assert found["ort-int8:arm64"].compile
    assert all(bool(status.reason) is not status.run for status in found.values())


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


def test_a_good_host_needs_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "host_facts", lambda: host("x86_64", "avx_vnni"))
    assert not any(finding.advice for finding in diagnose())
