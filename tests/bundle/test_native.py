"""Where the native runner is, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.bundle import native
from bmopt.bundle.elf import platform_of, require_platform
from bmopt.errors import BundleError
from tests.bundle.native_double import ARM, X86, install_stubs, shared_library


@pytest.mark.parametrize("platform", [X86, ARM])
def test_an_installed_runner_is_found(
    platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = install_stubs(tmp_path, monkeypatch)
    assert native.native_folder(platform) == root / platform


@pytest.mark.parametrize(
    ("own", "platform", "advice"),
    [(X86, X86, "make runner`"), (X86, ARM, "make runner-aarch64`"), (ARM, ARM, "make runner`")],
)
def test_a_missing_runner_tells_what_to_do(
    own: str, platform: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "installed_folder", lambda: tmp_path)
    monkeypatch.setattr(native, "own_platform", lambda: own)
    with pytest.raises(BundleError, match=advice):
        native.native_folder(platform)


def test_a_runner_that_lacks_a_file_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (install_stubs(tmp_path, monkeypatch) / X86 / "bin/bmopt-run").unlink()
    with pytest.raises(BundleError, match="not installed"):
        native.native_folder(X86)


def test_plugins_that_were_not_built_are_left_out_but_not_onnx_runtimes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install_stubs(tmp_path, monkeypatch) / X86
    found = native.engine_libraries(folder, ["onnxruntime", "tensorrt"], X86)
    assert list(found) == ["onnxruntime"]
    found["onnxruntime"].unlink()
    with pytest.raises(BundleError, match="libonnxruntime-dev or set ORT_ROOT"):
        native.engine_libraries(folder, ["onnxruntime"], X86)


@pytest.mark.parametrize("platform", [X86, ARM])
def test_a_librarys_platform_is_read_off_it(platform: str, tmp_path: Path) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(shared_library(platform))
    assert platform_of(file) == platform
    with pytest.raises(BundleError, match=f"is for {platform}, and the bundle is for"):
        require_platform(file, ARM if platform == X86 else X86)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" + bytes(62), b"\x7fELF\x01" + bytes(60)])
def test_other_files_are_no_libraries(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(data)
    with pytest.raises(BundleError, match="no shared library"):
        platform_of(tmp_path / "lib.so")


def test_compiled_parts_lie_where_the_extension_does() -> None:
    assert list(native.installed_folder().glob("_ext*"))
