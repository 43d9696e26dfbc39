"""The folder of a bundle: texts, modes, manifest and checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from bmopt.bundle.describe import TEMPLATES, filled, texts
from bmopt.bundle.licences import licence_files, own_licence
from bmopt.bundle.manifest import Needs, RuntimeNeed
from bmopt.bundle.manifest_json import read_manifest
from bmopt.bundle.native import own_platform
from bmopt.bundle.writer import copy_files, finish, native_files
from bmopt.errors import BundleError
from tests.bundle.native_double import X86, install_stubs
from tests.bundle.test_manifest import FILES, MANIFEST

ROOT = Path(__file__).resolve().parents[2]
HEADERS = ROOT / "cpp_ext/runner/include"


def write(folder: Path) -> Path:
    folder.mkdir()
    for path in FILES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    (folder / "bin").mkdir()
    (folder / "bin/bmopt-run").write_text("program")
    finish(folder, MANIFEST, is_slim=False)
    return folder


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in paths
    }


def test_the_manifest_lists_every_file_and_the_sums_that_too(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    listed = {path: entry.sha256 for path, entry in read_manifest(folder).files.items()}
    found = {path: hashlib.sha256(data).hexdigest() for path, (data, _) in content(folder).items()}
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    del found["SHA256SUMS"]
    assert sums == [f"{found[path]}  {path}" for path in sorted(found)]
    del found["manifest.json"]
    assert listed == found


@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_modes_depend_on_nothing(umask: int, tmp_path: Path) -> None:
    plain = content(write(tmp_path / "plain"))
    before = os.umask(umask)
    try:
        other = content(write(tmp_path / "other"))
    finally:
        os.umask(before)
    assert other == plain
    programs = {path for path, (_, mode) in plain.items() if mode == 0o755}
    assert programs == {"smoke_test", "bin/bmopt-run"}
    assert {mode for path, (_, mode) in plain.items() if path not in programs} == {0o644}


def test_a_manifest_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("one\n")
    with pytest.raises(BundleError, match="not listed"):
        finish(tmp_path, MANIFEST, is_slim=True)
    assert not (tmp_path / "manifest.json").exists()


def test_links_are_copied_as_what_they_name(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("text")
    (tmp_path / "link").symlink_to("real")
    copy_files(tmp_path / "bundle", {"lib/x.so": tmp_path / "link"})
    assert not (tmp_path / "bundle/lib/x.so").is_symlink()
    assert (tmp_path / "bundle/lib/x.so").read_text() == "text"


def test_the_readme_names_models_and_what_they_need() -> None:
    text = texts(MANIFEST, is_slim=False)["README.txt"]
    assert "digits, for x86_64-linux" in text
    assert "onnxruntime 1.23 or newer; a CPU with avx2 and avx512_vnni or avx_vnni" in text
    assert "library is in lib/" in text
    assert "to be installed on the device" in texts(MANIFEST, is_slim=True)["README.txt"]


def test_the_readme_names_the_one_version_of_tvm() -> None:
    needs = Needs((), (), RuntimeNeed("tvm", "", "", "0.27.0.post1"))
    model = dataclasses.replace(MANIFEST.models[0], engine="tvm", needs=needs)
    manifest = dataclasses.replace(MANIFEST, models=(model,))
    text = texts(manifest, is_slim=False)["README.txt"]
    assert "tvm 0.27.0.post1\n" in text
    assert "libtvm_runtime.so and libtvm_ffi.so, are in lib/" in text
    assert "NVIDIA" not in text
    assert "named with --library" in texts(manifest, is_slim=True)["README.txt"]


def test_nvidias_libraries_are_said_to_be_elsewhere() -> None:
    model = dataclasses.replace(MANIFEST.models[0], engine="tensorrt")
    text = texts(dataclasses.replace(MANIFEST, models=(model,)), is_slim=False)["README.txt"]
    assert "NVIDIA's libraries are not included" in text
    assert "ONNX Runtime's library" not in text


def test_every_template_is_filled_and_leaves_dollars_and_addresses_alone(tmp_path: Path) -> None:
    found = texts(MANIFEST, is_slim=False)
    assert {Path(path).name for path in found} == {file.name for file in TEMPLATES.iterdir()}
    for path, text in found.items():
        assert "@name@" not in text, path
        assert "@platform@" not in text, path
    (tmp_path / "t").write_text("@name@ $name ${here} a@b @@ @other@")
    assert filled(tmp_path / "t", {"name": "n"}) == "n $name ${here} a@b @@ @other@"


def test_the_container_does_not_run_as_root() -> None:
    text = texts(MANIFEST, is_slim=False)["examples/Dockerfile"]
    user = text.index("\nUSER 65534")
    assert user < text.index("\nENTRYPOINT")
    assert "linux/amd64" in text


def test_the_smoke_test_verifies_from_any_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "a bundle")
    (folder / "bin/bmopt-run").write_text('#!/bin/sh\nprintf "%s|" "$@"\nexit 7\n')
    ended = subprocess.run(
        [folder / "smoke_test", "--json"], capture_output=True, text=True, cwd="/", check=False
    )
    assert (ended.stdout, ended.returncode) == (f"{folder}|--verify|--json|", 7)


@pytest.mark.parametrize(
    ("compiler", "standard", "file"), [("gcc", "c11", "infer.c"), ("g++", "c++17", "infer.cpp")]
)
def test_the_examples_compile_without_warnings(compiler: str, standard: str, file: str) -> None:
    if shutil.which(compiler) is None or not HEADERS.is_dir():
        pytest.skip(f"needs {compiler} and the runner's header")
    flags = ["-Wall", "-Wextra", "-Werror", f"-std={standard}", f"-I{HEADERS}", "-fsyntax-only"]
    ended = subprocess.run(
        [compiler, *flags, TEMPLATES / file], capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
    assert ended.returncode == 0


def test_licences_of_all_that_is_included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = install_stubs(tmp_path, monkeypatch) / X86
    (native / "LICENSES").mkdir()
    (native / "LICENSES/stb.txt").write_text("public domain")
    found = licence_files(native, {"onnxruntime": {"LICENSE": tmp_path / "ort"}})
    assert found == {
        "LICENSES/bmopt/LICENSE": own_licence(),
        "LICENSES/stb.txt": native / "LICENSES/stb.txt",
        "LICENSES/onnxruntime/LICENSE": tmp_path / "ort",
    }
    assert "Apache License" in own_licence().read_text(encoding="utf-8")


def test_the_runner_goes_where_the_contract_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = install_stubs(tmp_path, monkeypatch) / X86
    plugin = native / "lib/libbm_engine_onnxruntime.so"
    assert set(native_files(native, {"onnxruntime": plugin})) == {
        "bin/bmopt-run",
        "include/bmopt_runner.h",
        "lib/libbm_engine_onnxruntime.so",
        "lib/libbmopt_runner.so",
    }
    assert own_platform().endswith("-linux")
