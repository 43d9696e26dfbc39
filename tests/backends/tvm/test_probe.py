from __future__ import annotations

import importlib.util
import sys

import pytest

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.backend import TvmBackend
from bmopt.core.target import Target
from bmopt.errors import HostError


def test_the_tested_pair_is_used() -> None:
    assert probe.why_not(dict(probe.PAIR)) == ""


def test_another_interface_is_a_reason_that_names_both_pairs() -> None:
    found = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.15.post2"}
    assert probe.why_not(found) == (
        "apache-tvm 0.27.0.post1 with apache-tvm-ffi 0.1.15.post2 is no tested pair "
        "(apache-tvm 0.27.0.post1 with apache-tvm-ffi 0.1.14.post0 is): pip install 'bmopt[tvm]'"
    )


def test_half_a_pair_is_a_reason() -> None:
    reason = probe.why_not({"apache-tvm": "0.27.0.post1"})
    assert "apache-tvm-ffi (not installed) is no tested pair" in reason


def test_a_build_from_source_is_trusted() -> None:
    assert probe.why_not({}) == ""


def test_without_tvm_the_graph_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = TvmBackend().probe(Target.parse("tvm-fp32"))
    assert (found.compile, found.build, found.run) == (True, False, False)
    assert found.reason.startswith("TVM is not installed (pip install 'bmopt[tvm]')")


def test_a_wrong_pair_builds_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "installed", lambda: True)
    monkeypatch.setattr(probe, "found_pair", lambda: {"apache-tvm": "0.26.0"})
    found = TvmBackend().probe(Target.parse("tvm-int8:cortex-a76"))
    assert (found.compile, found.build, found.run) == (True, False, False)
    assert "no tested pair" in found.reason
    with pytest.raises(HostError, match="no tested pair"):
        probe.load()


def test_a_library_that_does_not_load_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "why_not", lambda: "")
    monkeypatch.setitem(sys.modules, "tvm", None)  # makes its import fail
    with pytest.raises(HostError, match=r"TVM cannot be loaded \(.*\); install it again") as found:
        probe.load()
    assert "\n" not in str(found.value)
