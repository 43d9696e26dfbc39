from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bmopt.bundle.formats.serving import write_format
from bmopt.bundle.manifest import Manifest, Needs
from bmopt.bundle.manifest_json import read_manifest
from bmopt.errors import BundleError
from tests.bundle.formats.packed_models import (
    IMAGES,
    QUANTISED,
    SEED,
    TWO_INPUTS,
    golden,
    importable,
    with_models,
    with_pixels,
    write_packed,
)

LABELS = ("ant", "bee", "cat", "dog", "emu")


class Context:
    """What TorchServe's context has of the attributes that its documentation names."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.system_properties = {"model_dir": str(folder), "gpu_id": None, "batch_size": 1}
        self.manifest = json.loads((folder / "MAR-INF/MANIFEST.json").read_text())
        self.model_yaml_config = config
        self.statuses: dict[int, int] = {}

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.statuses[idx] = code


@contextmanager
def handler(bundle: Path, folder: Path) -> Iterator[tuple[Any, Context]]:
    """Open the archive as TorchServe's worker does: unpacked, its folder on the path."""
    archive = folder / "net.mar"
    write_format("torchserve", bundle, archive)
    unpacked = folder / "unpacked"
    with zipfile.ZipFile(archive) as stream:
        stream.extractall(unpacked)
    context = Context(unpacked, handler={"threads": 1})
    module_name = context.manifest["model"]["handler"].removesuffix(".py")
    with importable(unpacked, module_name) as module:
        own = [v for v in vars(module).values() if getattr(v, "__module__", "") == module_name]
        (found,) = [value for value in own if isinstance(value, type)]
        service = found()
        service.initialize(context)
        yield service, context


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("text", [IMAGES, QUANTISED, TWO_INPUTS])
def test_golden_outputs(tmp_path: Path, text: str) -> None:
    bundle = write_packed(tmp_path / "bundle", text)
    feeds, answers = golden(bundle, read_manifest(bundle).models[0])
    with handler(bundle, tmp_path) as (service, context):
        files = {name: npy(array) for name, array in feeds.items()}
        lists = {name: array.tolist() for name, array in feeds.items()}
        for request in (files, lists, {"body": lists}, {"data": json.dumps(lists).encode()}):
            (answer,) = service.handle([request], context)
            assert context.statuses == {}
            for name, expected in answers.items():
                found = np.array(answer["outputs"][name])
                np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_a_batch_is_one_inference_and_a_bad_request_stops_nobody(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES, labels=LABELS)
    feeds, answers = golden(bundle, read_manifest(bundle).models[0])
    first, second = feeds["pixels"]
    requests = [{"body": npy(first)}, {"body": b"\x00nothing"}, {"data": npy(second[None])}, {}]
    with handler(bundle, tmp_path) as (service, context):
        runs: list[int] = []
        model = service._model
        inner = model.run
        model.run = lambda given: (runs.append(len(given["pixels"])), inner(given))[1]
        found = service.handle(requests, context)
    assert runs == [2]
    assert context.statuses == {1: 400, 3: 400}
    assert "JSON or a .npy file" in found[1]["error"]
    assert "'pixels' is missing" in found[3]["error"]
    for answer, row in ((found[0], 0), (found[2], 1)):
        expected = answers["scores"][row]
        np.testing.assert_allclose(answer["outputs"]["scores"], [expected], atol=1e-4)
        (top,) = answer["top"]
        assert top[0]["label"] == LABELS[int(expected.argmax())]
        assert top[0]["value"] == max(answer["outputs"]["scores"][0])


def test_images_go_through_the_preprocessing(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES, change=with_pixels)
    pixels = np.random.default_rng(SEED).integers(0, 256, (12, 10, 3), np.uint8)
    picture, stream = Image.fromarray(pixels), io.BytesIO()
    picture.save(stream, "PNG")
    with handler(bundle, tmp_path) as (service, context):
        (answer,) = service.handle([{"data": stream.getvalue()}], context)
    # By hand: the short side is 10 already, the centre of 12 x 10 is cut out, BGR, normalised.
    cut = pixels[2:10, 1:9, ::-1].astype(np.float32) * np.float32(1 / 255)
    cut = (cut - np.array([0.4, 0.5, 0.6], np.float32)) / np.float32(0.25)
    import onnxruntime as ort

    session = ort.InferenceSession(bundle / "models/m0/model.onnx")
    (expected,) = session.run(None, {"pixels": cut.transpose(2, 0, 1)[None]})
    np.testing.assert_allclose(answer["outputs"]["scores"], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"body": b"[1, 2]"}, "has shape [2]"),
        ({"body": b'{"other": [1]}'}, "no input 'other'"),
        ({"body": b"[1, 2"}, "neither an image, .npy nor JSON"),
        ({"body": {"pixels": [["a"]]}}, "takes float32"),
        ({"body": npy(np.zeros((1, 3, 8, 8), np.complex64))}, "not complex64"),
    ],
)
def test_bad_requests(tmp_path: Path, request_: dict[str, Any], says: str) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES)
    with handler(bundle, tmp_path) as (service, context):
        (answer,) = service.handle([request_], context)
    assert context.statuses == {0: 400}
    assert says in answer["error"]


def test_integers_have_to_fit(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", TWO_INPUTS)
    left = np.zeros((2, 3)).tolist()
    with handler(bundle, tmp_path) as (service, context):
        bad = {"left": left, "right": np.full((2, 3), 0.5).tolist()}
        (answer,) = service.handle([bad], context)
    assert "takes int64, not float64" in answer["error"]


def test_another_processor_is_refused(tmp_path: Path) -> None:
    def change(manifest: Manifest) -> Manifest:
        runtime = manifest.models[0].needs.runtime
        return with_models(needs=Needs((("vector9", "vector10"),), (), runtime))(manifest)

    bundle = write_packed(tmp_path / "bundle", IMAGES, change=change)
    with pytest.raises(RuntimeError, match="no vector9 or vector10"), handler(bundle, tmp_path):
        pass


def test_archive_is_deterministic_and_as_the_archiver_writes_it(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES, labels=LABELS, change=with_pixels)
    for name in ("a.mar", "b.mar"):
        write_format("torchserve", bundle, tmp_path / name)
    assert (tmp_path / "a.mar").read_bytes() == (tmp_path / "b.mar").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.mar") as archive:
        files = set(archive.namelist())
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        requirements = archive.read("requirements.txt").decode().split()
    model = manifest["model"]
    named = {model[key] for key in ("serializedFile", "handler", "requirementsFile", "configFile")}
    assert named <= files
    assert {"bmopt_session.py", "bmopt_pixels.py", "serving.json", "index_to_name.json"} <= files
    assert [line.partition(">")[0] for line in requirements] == ["numpy", "onnxruntime", "pillow"]


def test_manifest_has_the_archivers_keys(tmp_path: Path) -> None:
    reason = "torch-model-archiver is not installed"
    utils = pytest.importorskip("model_archiver.model_packaging_utils", reason=reason)
    from model_archiver.model_archiver_config import ModelArchiverConfig

    bundle = write_packed(tmp_path / "bundle", IMAGES)
    write_format("torchserve", bundle, tmp_path / "net.mar")
    with zipfile.ZipFile(tmp_path / "net.mar") as archive:
        own = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    config = ModelArchiverConfig(
        model_name="net",
        handler="handler.py",
        version="1.0",
        serialized_file="model.onnx",
        requirements_file="requirements.txt",
        config_file="model-config.yaml",
    )
    theirs = json.loads(utils.ModelExportUtils.generate_manifest_json(config))
    assert own.keys() == theirs.keys()
    assert own["model"] == theirs["model"]
    assert own["runtime"] == theirs["runtime"]


def test_handler_runs_without_bmopt_and_torch(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES)
    write_format("torchserve", bundle, tmp_path / "net.mar")
    with zipfile.ZipFile(tmp_path / "net.mar") as archive:
        archive.extractall(tmp_path / "unpacked")
    program = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['bmopt'] = None\n"
        "import handler\n"
        "class Context: system_properties = {'model_dir': '.', 'gpu_id': None}\n"
        "service = handler.BmoptHandler()\n"
        "service.initialize(Context())\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "print(service.handle([{'data': data}], Context())[0]['outputs']['scores'])\n"
    )
    argv = [sys.executable, "-c", program, str(bundle / "golden/m0/0/input_0.npy")]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        argv,
        cwd=tmp_path / "unpacked",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = np.load(bundle / "golden/m0/0/output_0.npy")
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-4)


def test_what_cannot_be_an_archive(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "two", IMAGES, QUANTISED)
    with pytest.raises(BundleError, match="holds one model, and 2"):
        write_format("torchserve", bundle, tmp_path / "net.mar")
    engine = with_models(engine="tensorrt", target="trt-int8")
    bundle = write_packed(tmp_path / "engine", IMAGES, change=engine)
    with pytest.raises(BundleError, match="serves models of onnxruntime, not of tensorrt"):
        write_format("torchserve", bundle, tmp_path / "net.mar")
    with pytest.raises(BundleError, match=r"writes a \.mar file"):
        write_format("torchserve", bundle, tmp_path / "net.zip")
    assert not list(tmp_path.glob("*.mar"))


def test_session_settings_reach_the_session(tmp_path: Path) -> None:
    change = with_models(session={"session.dynamic_block_base": "no number"})
    bundle = write_packed(tmp_path / "bundle", IMAGES, change=change)
    description = json.loads(_read(bundle, tmp_path, "serving.json"))
    assert description["session"] == {"session.dynamic_block_base": "no number"}
    # ONNX Runtime refuses the value, so it was told.
    with pytest.raises(ValueError, match="stoi"), handler(bundle, tmp_path):
        pass


def _read(bundle: Path, folder: Path, name: str) -> bytes:
    write_format("torchserve", bundle, folder / "read.mar")
    with zipfile.ZipFile(folder / "read.mar") as archive:
        return archive.read(name)


def test_weights_beside_the_model_go_in(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES)
    manifest = read_manifest(bundle)
    (bundle / "models/m0/model.onnx.data").write_bytes(b"weights")
    from tests.bundle.bundles import entries, rewrite

    rewrite(bundle, dataclasses.replace(manifest, files=entries(bundle)))
    assert _read(bundle, tmp_path, "model.onnx.data") == b"weights"
