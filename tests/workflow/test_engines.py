from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.core.engine import BuildOptions, EngineBuild, Kernel, Profile
from bmopt.errors import ArtifactError
from bmopt.workflow.engines import (
    ENGINE_FACTS,
    engine_json,
    facts,
    read_engine,
    read_options,
    write_plan_to_build,
)

OPTIONS = BuildOptions(
    profiles={"x": Profile((1, 3), (2, 3), (8, 3))}, level=4, compat="version", dla=1
)
BUILD = EngineBuild(
    engine="sdk",
    version="1.2",
    devices=("sm86", "sm89"),
    seconds=0.5,
    size_bytes=7,
    kernels=(Kernel("k", "gemm", ("int8",), ("int8", "float"), ("float",), ("a", "b"), "t"),),
    warnings=("w",),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / ENGINE_FACTS).write_text(engine_json(BUILD, OPTIONS))
    assert read_engine(tmp_path) == BUILD
    assert read_options(tmp_path) == OPTIONS


def test_an_engine_that_is_still_to_be_built(tmp_path: Path) -> None:
    assert read_engine(tmp_path) is None
    assert read_options(tmp_path) is None
    write_plan_to_build(tmp_path, OPTIONS)
    assert read_engine(tmp_path) is None
    assert read_options(tmp_path) == OPTIONS


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"build": {}, "options": 3}'])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / ENGINE_FACTS).write_text(text)
    with pytest.raises(ArtifactError, match="is damaged"):
        read_options(tmp_path)


def test_a_report_counts_kernels() -> None:
    assert facts(BUILD)["kernels"] == 1
