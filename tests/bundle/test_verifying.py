"""Needs of a host, and recorded outputs beside what a model answers."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.backends.tvm.backend import TvmBackend
from bmopt.bundle import needs
from bmopt.bundle.golden_check import compare_golden, difference, open_packed, read_golden
from bmopt.bundle.manifest import Manifest, Model, Needs, Port, RuntimeNeed
from bmopt.bundle.manifest_json import read_manifest
from bmopt.bundle.needs import lacks, require_platform
from bmopt.bundle.verifying import check_sums, opened
from bmopt.core.capabilities import Capabilities
from bmopt.errors import BundleError, GoldenError, HostError, TrustError
from tests.bundle.bundles import MODEL_FILE, PLATFORM, write_bundle

ORT_NEED = RuntimeNeed("onnxruntime", "1.20", "", ort.__version__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return read_manifest(folder).models[0]


def needing(model: Model, **changes: object) -> Model:
    wanted = dataclasses.replace(Needs((), (), ORT_NEED), **changes)  # type: ignore[arg-type]
    return dataclasses.replace(model, needs=wanted)


def test_flags_of_the_cpu(model: Model) -> None:
    wanted = needing(model, cpu=(("avx2",), ("avx512_vnni", "avx_vnni")))
    assert lacks(wanted, frozenset({"avx2", "avx_vnni", "sse4_1"})) == ""
    assert "avx512_vnni or avx_vnni, which" in lacks(wanted, frozenset({"avx2"}))
    assert "avx2 and avx512_vnni or" in lacks(wanted, frozenset())


@pytest.mark.parametrize(
    ("least", "below", "runs"),
    [
        ("1.20", "", True),
        ("99.0", "", False),
        (ort.__version__, "", True),
        ("1.0", "1.1", False),
        ("1.0", "99", True),
        ("1.0", ort.__version__, False),
    ],
)
def test_versions_of_the_runtime(model: Model, least: str, below: str, runs: bool) -> None:
    need = RuntimeNeed("onnxruntime", least, below, "1.0")
    said = lacks(needing(model, runtime=need), frozenset())
    assert (said == "") == runs
    if not runs:
        assert f"ONNX Runtime {least} or newer" in said
        assert ort.__version__ in said


@pytest.mark.parametrize("target", ["trt-fp16", "rtx-fp16:sm86"])
def test_engines_of_gpus_name_library_and_gpu(
    model: Model, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = "tensorrt" if target.startswith("trt") else "tensorrt_rtx"
    need = RuntimeNeed(engine, "10.3", "11", "10.3")
    wanted = needing(model, gpu=("sm86",), runtime=need)
    wanted = dataclasses.replace(wanted, target=target, engine=engine)
    for own, expected in (((), "GPU of NVIDIA (sm86)"), (("sm75",), "sm86, this one is sm75")):
        monkeypatch.setattr(needs, "own_sms", lambda own=own: own)
        assert expected in lacks(wanted, frozenset())
        assert "10.3 or newer and below 11" in lacks(wanted, frozenset())


def test_engines_that_bmopt_does_not_run(model: Model) -> None:
    need = RuntimeNeed("other", "0.27", "", "0.27")
    wanted = dataclasses.replace(needing(model, runtime=need), target="other-int8:npu")
    assert "smoke_test" in lacks(wanted, frozenset())


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("", "needs TVM 0.27.0.post1, which Python lacks here: run the bundle's smoke_test"),
        ("0.27.1", "needs TVM 0.27.0.post1, here is 0.27.1"),
        ("0.27.0.post1", ""),
    ],
)
def test_tvm_runs_what_the_same_version_compiled(
    model: Model, found: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TvmBackend, "probe", lambda *_: Capabilities(True, True, version=found))
    need = RuntimeNeed("tvm", "", "", "0.27.0.post1")
    wanted = dataclasses.replace(
        needing(model, runtime=need), target="tvm-int8:cortex-a76", engine="tvm"
    )
    assert lacks(wanted, frozenset()) == said


def test_another_platform(folder: Path) -> None:
    manifest: Manifest = read_manifest(folder)
    require_platform(manifest, "b")
    other = "aarch64-linux" if PLATFORM != "aarch64-linux" else "x86_64-linux"
    with pytest.raises(HostError, match=f"is for {other}, this host is {PLATFORM}"):
        require_platform(dataclasses.replace(manifest, platform=other), "b")


def test_a_model_answers_as_it_did(folder: Path, model: Model) -> None:
    with open_packed(folder, model) as runner:
        (compared,) = compare_golden(folder, model, runner)
    assert compared.is_within
    assert (compared.pair, compared.output) == (0, "logits")


def test_an_answer_that_is_off_is_measured(folder: Path, model: Model, tmp_path: Path) -> None:
    (pair,) = model.golden
    off = np.load(folder / pair.outputs[0].file)
    off[1, 2] += 0.25
    np.save(tmp_path / "off.npy", off)
    name = os.path.relpath(tmp_path / "off.npy", folder)
    outputs = (dataclasses.replace(pair.outputs[0], file=name),)
    wrong = dataclasses.replace(model, golden=(dataclasses.replace(pair, outputs=outputs),))
    with open_packed(folder, model) as runner:
        (compared,) = compare_golden(folder, wrong, runner)
    assert not compared.is_within
    assert compared.difference == pytest.approx(0.25)


F32 = np.float32


@pytest.mark.parametrize(
    ("found", "expected", "apart"),
    [
        (F32([1, 2]), F32([1, 2.5]), 0.5),
        (F32([np.nan, 1]), F32([np.nan, 1]), 0.0),
        (F32([np.nan]), F32([1]), math.inf),
        (F32([1]), F32([np.nan]), math.inf),
        (F32([np.inf]), F32([np.inf]), 0.0),
        (F32([np.inf]), F32([-np.inf]), math.inf),
        (F32([]), F32([]), 0.0),
        (F32([1]), F32([[1]]), math.inf),
        (F32([1]), np.float64([1]), math.inf),
        (np.uint8([0]), np.uint8([255]), 255.0),
        (np.array([True]), np.array([False]), 1.0),
        (np.array([2**62]), np.array([2**62 + 1]), 1.0),
        (np.float16([60000]), np.float16([-60000]), 120000.0),
    ],
)
def test_differences(found: np.ndarray, expected: np.ndarray, apart: float) -> None:
    assert difference(found, expected) == pytest.approx(apart, rel=1e-3)


def npy(header: str) -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x80\x04N.",
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 4)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 4)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 4)}"),
        npy("[1, 2"),
        npy("(" * 9000),
        npy("-" * 9000 + "1"),
        npy("{" + "[" * 150 + "]" * 150 + ": 1}"),
        npy("\\N{x"),
        npy("{'descr': '<f4', 'fortran_order': False}"),
    ],
)
def test_golden_files_from_anybody(tmp_path: Path, model: Model, data: bytes) -> None:
    folder = write_bundle(tmp_path / "b")
    (folder / model.golden[0].inputs[0].file).write_bytes(data)
    with open_packed(folder, model) as runner, pytest.raises(GoldenError, match=r"input_0\.npy"):
        compare_golden(folder, model, runner)


@given(st.text(st.sampled_from("{}[]()'\",:-<>|fiOSU0189, dshape\n\\"), max_size=60))
def test_headers_of_any_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.npy"
    for data in (npy(text), npy(f"{{'descr': {text}, 'fortran_order': False, 'shape': (1,)}}")):
        file.write_bytes(data)
        with contextlib.suppress(GoldenError):
            read_golden(file.parent, file.name, Port("x", "float32", (-1,), (None,)))


def test_a_model_that_the_engine_refuses(tmp_path: Path, model: Model) -> None:
    folder = write_bundle(tmp_path / "b")
    (folder / MODEL_FILE).write_bytes(b"no model")
    with pytest.raises(HostError, match="ort-fp32"):
        open_packed(folder, model)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    for path, message in ((tmp_path, "is no bundle"), (tmp_path / "none", "none: is missing")):
        with pytest.raises(BundleError, match=message), opened(path):
            pass


def test_folders_of_any_depth(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    here = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    with opened(folder) as bundle, pytest.raises(BundleError, match="too long"):
        check_sums(bundle)
    subprocess.run(["rm", "-rf", folder], check=True)


def test_special_files_are_never_opened(tmp_path: Path) -> None:
    """A pipe without a writer would hang whoever opens it."""
    folder = write_bundle(tmp_path / "b")
    os.mkfifo(folder / "pipe")
    with opened(folder) as bundle, pytest.raises(TrustError, match="no regular file"):
        check_sums(bundle)
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    with pytest.raises(TrustError, match="no regular file"), opened(folder):
        pass
