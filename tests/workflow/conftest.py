from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bmopt.workflow.compiling import CompileResult
from tests.workflow.demo_runs import compile_demo


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("BMOPT_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompileResult]:
    """The demo's artifact; tests only read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMOPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield compile_demo(tmp_path_factory.mktemp("demo") / "artifact")
