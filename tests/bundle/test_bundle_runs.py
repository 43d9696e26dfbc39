"""A bundle of the demo runs by itself: no environment, no Python, its own libraries."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bmopt.bundle.native import engine_libraries, native_folder, own_platform
from bmopt.errors import BmoptError
from bmopt.workflow.packaging import PackageOptions, package
from tests.workflow.demo_runs import compile_demo


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    platform = own_platform()
    try:
        engine_libraries(native_folder(platform), ["onnxruntime"], platform)
    except BmoptError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMOPT_CACHE_DIR", str(folder / "cache"))
        artifact = compile_demo(folder / "artifact", target="ort-fp32").artifact
        return package([artifact], PackageOptions(platform), folder / "demo").path


def run(bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(bundle / "smoke_test"), *options]
    return subprocess.run(
        command, capture_output=True, text=True, env={}, cwd="/", timeout=60, check=False
    )


def test_the_smoke_test_passes_without_an_environment(bundle: Path) -> None:
    ended = run(bundle)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_file_that_was_changed_is_noticed(bundle: Path) -> None:
    file = bundle / "README.txt"
    before = file.read_bytes()
    file.write_bytes(before + b" ")
    try:
        ended = run(bundle)
    finally:
        file.write_bytes(before)
    assert ended.returncode == 5
    assert "README.txt" in ended.stderr
