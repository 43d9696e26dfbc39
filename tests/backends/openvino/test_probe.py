from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import pytest

from bmopt.backends.openvino.probe import load, probe, version
from bmopt.backends.openvino.session import open_file
from bmopt.errors import HostError
from bmopt.workflow.hosting import targets
from tests.cli.process import bmopt, python

MISSING = "OpenVINO is not installed (pip install 'bmopt[openvino]')"
installed = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO"
)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else real(name)
    )


@pytest.mark.usefixtures("without")
def test_a_host_without_it(tmp_path: Path) -> None:
    able = probe()
    assert (able.compile, able.build, able.run) == (False, False, False)
    assert (able.reason, able.version) == (MISSING, "")
    assert targets()[-1].reason == MISSING
    with pytest.raises(HostError) as caught:
        open_file(tmp_path / "m.xml")
    assert str(caught.value) == MISSING


def test_a_package_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(HostError, match=r"^OpenVINO cannot be loaded \(.*\); install it again"):
        load()


def test_a_version_is_not_always_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", lost)
    assert version() == ""


@installed
def test_a_host_with_it() -> None:
    able = probe()
    assert (able.compile, able.build, able.run) == (False, False, True)
    assert able.version == importlib.metadata.version("openvino")
    assert "openvino:model.xml" in able.reason
    assert load().__version__.startswith(able.version)


@installed
def test_its_row_among_the_targets() -> None:
    done = bmopt("targets")
    row = done.stdout.splitlines()[-1].split()
    assert row[:4] == ["openvino", "no", "no", "yes"]
    assert row[4] == version()


def test_nothing_imports_it_unasked() -> None:
    program = """
import sys, bmopt.cli.main, bmopt.workflow.subjects, bmopt.workflow.hosting
bmopt.workflow.hosting.targets()
print("openvino" in sys.modules)
"""
    assert python("-c", program).stdout == "False\n"
