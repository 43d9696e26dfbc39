from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bundle.runtime_libraries import onnxruntime_for
from bmopt.errors import BundleError
from tests.runner.bundle_folder import read_manifest, seal, write_bundle, write_sums
from tests.runner.conftest import Build

HOST = f"{platform.machine()}-linux"
OTHER = "x86_64-linux" if HOST == "aarch64-linux" else "aarch64-linux"
BAD_INPUT, UNTRUSTED, NO_HOST, DIFFERS = 2, 5, 6, 7


@pytest.fixture
def bundle(tmp_path: Path, native_engine: Build) -> Path:
    return _with_plugin(write_bundle(tmp_path / "bundle", platform=HOST), native_engine)


def _with_plugin(folder: Path, build: Build) -> Path:
    (folder / "lib").mkdir()
    shutil.copy(build.plugin, folder / "lib")
    seal(folder, read_manifest(folder))
    return folder


Check = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def check(native_engine: Build, bundle: Path, ort_library: Path) -> Check:
    def run(
        model: str = "", library: object = ort_library, mode: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        return native_engine.run("runner_check_bundle", bundle, model, library, *mode)

    return run


def _edit(folder: Path, change: Callable[[Any], None], *, is_resealed: bool = True) -> None:
    manifest = read_manifest(folder)
    change(manifest)
    if is_resealed:
        seal(folder, manifest)
    else:
        (folder / "manifest.json").write_text(json.dumps(manifest))
        write_sums(folder)


def _refused(done: subprocess.CompletedProcess[str], status: int, *parts: str) -> None:
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1
    for part in parts:
        assert part in done.stderr


def test_a_c_program_uses_every_function(
    native_engine: Build, bundle: Path, ort_library: Path
) -> None:
    done = native_engine.run("runner_abi_test", bundle, ort_library)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", ["affine", "found", "types"])
def test_golden_outputs_match(check: Check, model: str) -> None:
    done = check(model)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{model} ort-fp32 onnxruntime 1.")


def test_the_bundles_own_library_is_taken(check: Check, bundle: Path, ort_library: Path) -> None:
    shutil.copy(ort_library, bundle / "lib/libonnxruntime.so.1")
    seal(bundle, read_manifest(bundle))
    assert check(library="").returncode == 0


def test_golden_outputs_differ(check: Check, bundle: Path) -> None:
    file = bundle / "golden/affine/0/output_0.npy"
    np.save(file, np.load(file) + np.float32(0.5))
    seal(bundle, read_manifest(bundle))
    _refused(check(), DIFFERS, "golden pair 0: output y differs by 0.5", "tolerance 1e-06")


def test_a_missing_library(check: Check) -> None:
    _refused(
        check("affine", "/none/libonnxruntime.so"),
        NO_HOST,
        "/none/libonnxruntime.so",
        "needs onnxruntime 1.16 or newer",
    )


def test_a_missing_plugin(check: Check, bundle: Path) -> None:
    _edit(bundle, lambda m: [model.update(engine="nobody") for model in m["models"]])
    _refused(check("affine"), NO_HOST, "needs the plugin libbm_engine_nobody.so")


def test_a_missing_cpu_feature(check: Check, bundle: Path) -> None:
    _edit(bundle, lambda m: m["models"][0]["needs"].update(cpu=["telepathy", ["a", "b"]]))
    _refused(check("affine"), NO_HOST, "model affine needs a CPU with telepathy, a or b")


def test_the_next_model_is_taken_where_the_first_does_not_run(check: Check, bundle: Path) -> None:
    _edit(bundle, lambda m: m["models"][0]["needs"].update(cpu=["telepathy"]))
    done = check()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("found ")


@pytest.mark.parametrize(
    ("need", "message"),
    [
        ({"min": "99.1"}, "needs onnxruntime 99.1 or newer, found 1."),
        ({"min": "", "below": "1.2"}, "needs onnxruntime below 1.2, found 1."),
    ],
)
def test_another_version_is_needed(
    check: Check, bundle: Path, need: dict[str, str], message: str
) -> None:
    _edit(bundle, lambda m: m["models"][0]["needs"]["runtime"].update(need))
    _refused(check("affine"), NO_HOST, message)


def test_another_platform(check: Check, bundle: Path) -> None:
    _edit(bundle, lambda m: m.update(platform=OTHER))
    _refused(check(), NO_HOST, f"is for {OTHER}, this host is {HOST}")


@pytest.mark.parametrize("path", ["../model.onnx", "/etc/passwd", "models/../x", "a//b", ""])
def test_a_path_out_of_the_bundle(check: Check, bundle: Path, path: str) -> None:
    _edit(bundle, lambda m: m["models"][0].update(file=path))
    _refused(check(), BAD_INPUT, "inside the bundle")


def test_a_dtype_that_the_model_does_not_have(check: Check, bundle: Path) -> None:
    _edit(bundle, lambda m: m["models"][0]["inputs"][0].update(dtype="int64"))
    _refused(check("affine"), BAD_INPUT, "'x' is not int64 in the model")


def test_no_bundle(check: Check, bundle: Path) -> None:
    (bundle / "manifest.json").unlink()
    _refused(check(), BAD_INPUT, "is no bundle")


def test_a_touched_file(check: Check, bundle: Path) -> None:
    file = bundle / "models/types/model.onnx"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    _refused(check(), UNTRUSTED, "models/types/model.onnx: was changed")


def test_a_touched_manifest(check: Check, bundle: Path) -> None:
    file = bundle / "manifest.json"
    file.write_text(file.read_text().replace("by_hand", "by_foot"))
    _refused(check(), UNTRUSTED, "manifest.json: was changed")


def test_checksums_of_two_minds(check: Check, bundle: Path) -> None:
    sums = {"sha256": "0" * 64}
    _edit(bundle, lambda m: m["files"]["models/types/model.onnx"].update(sums), is_resealed=False)
    _refused(check(), UNTRUSTED, "another checksum in manifest.json")


def test_a_cut_off_model_is_seen_without_checksums(check: Check, bundle: Path) -> None:
    file = bundle / "models/affine/model.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    _refused(check("affine", mode=("open",)), UNTRUSTED, "model affine: ", "has another size")


def test_a_linked_model_is_seen_without_checksums(
    check: Check, bundle: Path, tmp_path: Path
) -> None:
    (bundle / "models").rename(tmp_path / "elsewhere")
    (bundle / "models").symlink_to(tmp_path / "elsewhere")
    _refused(check("affine", mode=("open",)), BAD_INPUT, "is missing, or is a link")


def test_a_model_that_is_none(check: Check, bundle: Path) -> None:
    (bundle / "models/affine/model.onnx").write_bytes(b"no model")
    seal(bundle, read_manifest(bundle))
    _refused(check("affine"), NO_HOST, "cannot open the model: ONNX Runtime 1.")


def test_an_extra_file(check: Check, bundle: Path) -> None:
    (bundle / "lib/extra.so").write_text("")
    _refused(check(), UNTRUSTED, "lib/extra.so: is in no list")


def test_a_missing_file(check: Check, bundle: Path) -> None:
    (bundle / "golden/types/0/input_0.npy").unlink()
    _refused(check(), UNTRUSTED, "golden/types/0/input_0.npy: is missing")


@pytest.mark.parametrize("name", ["models/types/model.onnx", "golden", "manifest.json"])
def test_a_link(check: Check, bundle: Path, tmp_path: Path, name: str) -> None:
    (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    is_manifest = name == "manifest.json"
    _refused(check(), BAD_INPUT if is_manifest else UNTRUSTED, name)


@pytest.fixture(scope="session")
def aarch64_library() -> Path:
    try:
        return onnxruntime_for("aarch64-linux").library
    except BundleError as error:
        pytest.skip(str(error))


def test_the_c_program_and_golden_outputs_on_aarch64(
    cross: Build, qemu: tuple[str, ...], aarch64_library: Path, tmp_path: Path
) -> None:
    if not cross.has_onnxruntime:
        pytest.skip("ONNX Runtime's C header not found: libonnxruntime-dev, or set ORT_ROOT")
    folder = _with_plugin(write_bundle(tmp_path / "bundle", platform="aarch64-linux"), cross)
    done = cross.run("runner_abi_test", folder, aarch64_library, prefix=qemu)
    assert done.returncode == 0, done.stderr
    for model in ("affine", "found", "types"):
        arguments = (folder, model, aarch64_library)
        done = cross.run("runner_check_bundle", *arguments, prefix=qemu)
        assert done.returncode == 0, done.stderr
