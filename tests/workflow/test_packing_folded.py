"""Preprocessing and top-k in the packed graph: real artifacts, their pictures, ONNX Runtime."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image

from bmopt.bundle.manifest_json import read_manifest
from bmopt.bundle.steps import output_steps
from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array
from bmopt.data.pixels import convert
from bmopt.data.preprocess import Preprocess
from bmopt.errors import BundleError
from bmopt.workflow.artifact import read_golden
from bmopt.workflow.compiling import CompileResult, compile_model
from bmopt.workflow.packaging import PackageOptions, package
from bmopt.workflow.packaging_formats import package_as
from bmopt.workflow.packed_artifact import read_packed
from bmopt.workflow.packing_folded import folded
from bmopt.workflow.progress import Quiet
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.verifying_bundle import verify_bundle
from tests.bundle.formats.packed_models import importable
from tests.bundle.native_double import X86, install_stubs
from tests.rewriting import parse
from tests.workflow.demo_runs import DEMO, compile_demo, content, write_text_model

PLAIN = PackageOptions(X86, is_slim=True)
FOLDED = dataclasses.replace(PLAIN, fold_preprocess=True)
BGR = {"crop": "8x6", "channels": "BGR", "scale": "1/255", "mean": "0.4,0.5,0.6", "std": "0.25"}
NET = """g ({kind}[N,3,H,W] x, {more}) => (float[N,5] y) <
  float[5,3,3,3] w = {{{weights}}}> {{
    c = Conv<kernel_shape = [3, 3]>(x, w) p = GlobalAveragePool(c) y = Flatten(p)
}}"""

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_stubs(tmp_path / "installed", monkeypatch)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Return what compiles for a target once; tests only read what comes out."""
    folder = tmp_path_factory.mktemp("others")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMOPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))

        def make(target: str) -> Path:
            out = folder / target
            if not out.exists():
                compile_demo(out, target=target)
            return out

        yield make


def run(file: Path, feeds: dict[str, Array]) -> list[Any]:
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def pictures(count: int = 3) -> Array:
    stored = np.load(DEMO.val)["images"][:count]
    return np.asarray(stored[..., None], np.uint8)


def floats(pixels: Array) -> Array:
    options = Preprocess.from_options(["scale=1/255", "mean=0.3", "std=0.35"])
    return convert(pixels, options, InputSpec("image", "float32", (None, 1, 16, 16)), "test")


def test_stored_pixels_go_in_and_the_same_answers_come_out(
    demo: CompileResult, tmp_path: Path
) -> None:
    manifest = package([demo.artifact], FOLDED, tmp_path / "bundle").manifest
    (model,) = manifest.models
    (port,) = model.inputs
    assert (port.name, port.dtype, port.shape) == ("image", "uint8", (-1, 16, 16, 1))
    assert (port.layout, port.axes[0], port.range) == ("NHWC", "N", None)
    assert manifest.preprocess == {
        "input": "image",
        "channels": "GRAY",
        "layout": "NHWC",
        "dtype": "uint8",
    }
    assert model.passes.startswith("fold-batch-norm,fold-preprocess{channels=GRAY,scale=0.0039")
    pixels = pictures()
    (answer,) = run(tmp_path / "bundle" / model.file, {"image": pixels})
    (wanted,) = run(demo.artifact / "model.onnx", {"image": floats(pixels)})
    assert np.array_equal(answer, wanted)


def test_golden_inputs_are_the_pictures_that_the_recorded_ones_came_from(
    demo: CompileResult, tmp_path: Path
) -> None:
    plain = package(
        [demo.artifact], PackageOptions(X86, is_slim=True), tmp_path / "plain"
    ).manifest
    bundle = tmp_path / "bundle"
    (model,) = package([demo.artifact], FOLDED, bundle).manifest.models
    pairs = read_golden(demo.artifact)
    assert len(model.golden) == len(pairs) > 0
    for pair, (feeds, outputs) in zip(model.golden, pairs, strict=True):
        pixels = np.load(bundle / pair.inputs[0].file)
        assert pixels.dtype == np.uint8
        assert np.array_equal(floats(pixels), feeds["image"])
        assert np.array_equal(np.load(bundle / pair.outputs[0].file), outputs["logits"])
        assert pair.outputs[0].recorded == "artifact"
    tolerances = [m.golden[0].outputs[0].tolerance for m in (model, plain.models[0])]
    assert tolerances[0] == tolerances[1]
    assert verify_bundle(bundle).models[0].golden[0].difference == 0.0


def test_golden_inputs_are_drawn_where_no_picture_gives_them(tmp_path: Path) -> None:
    artifact = tmp_path / "artifact"
    compile_demo(artifact, calib="", val="", target="ort-fp32", preprocess=("scale=1/255",))
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        (model,) = package([artifact], FOLDED, out).manifest.models
    assert content(outs[0]) == content(outs[1])
    first, second = (np.load(outs[0] / pair.inputs[0].file) for pair in model.golden[:2])
    assert first.shape == read_golden(artifact)[0][0]["image"].transpose(0, 2, 3, 1).shape
    assert not np.array_equal(first, second)
    assert verify_bundle(outs[0]).models[0].golden[0].difference == 0.0


def test_top_k_is_of_the_same_scores(demo: CompileResult, tmp_path: Path) -> None:
    options = dataclasses.replace(FOLDED, top_k=3)
    bundle = tmp_path / "bundle"
    (model,) = package([demo.artifact], options, bundle).manifest.models
    assert [(port.name, port.dtype, port.shape) for port in model.outputs] == [
        ("logits_scores", "float32", (-1, 3)),
        ("logits_classes", "int64", (-1, 3)),
    ]
    pixels = pictures()
    scores, classes = run(bundle / model.file, {"image": pixels})
    (logits,) = run(demo.artifact / "model.onnx", {"image": floats(pixels)})
    assert np.array_equal(classes, np.argsort(-logits, axis=1, kind="stable")[:, :3])
    assert np.array_equal(scores, np.take_along_axis(logits, classes, 1))
    assert all(compared.is_within for compared in verify_bundle(bundle).models[0].golden)


def test_top_k_without_the_preprocessing(demo: CompileResult, tmp_path: Path) -> None:
    options = dataclasses.replace(PLAIN, top_k=1)
    manifest = package([demo.artifact], options, tmp_path / "bundle").manifest
    assert manifest.models[0].inputs[0].dtype == "float32"
    assert manifest.preprocess is not None
    assert manifest.preprocess["mean"] == [0.3]
    assert manifest.models[0].passes == "fold-batch-norm,append-top-k{k=1}"


def test_classes_of_close_scores_may_change_places(demo: CompileResult, tmp_path: Path) -> None:
    options = dataclasses.replace(FOLDED, top_k=3)
    bundle = tmp_path / "bundle"
    (model,) = package([demo.artifact], options, bundle).manifest.models
    allowed = {output.name: output.tolerance for output in model.golden[0].outputs}
    reach, largest = 2 * allowed["logits_scores"], 0
    for feeds, _ in read_golden(demo.artifact):
        (logits,) = run(demo.artifact / "model.onnx", feeds)
        for row in logits:
            for best in np.argsort(-row, kind="stable")[:3]:
                near = np.flatnonzero(np.abs(row - row[best]) <= reach)
                largest = max(largest, int(np.abs(near - best).max()))
    assert allowed["logits_classes"] == largest
    steps = {output.name: output.step for output in model.golden[0].outputs}
    assert steps["logits_scores"] is not None
    assert steps["logits_classes"] is None


def test_labels_are_counted_against_all_classes(demo: CompileResult, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.write_text("".join(f"{digit}\n" for digit in range(10)))
    options = dataclasses.replace(FOLDED, top_k=2, labels=labels)
    progress = Quiet()
    package([demo.artifact], options, tmp_path / "bundle", progress)
    assert progress.warnings == []
    labels.write_text("yes\nno\n")
    package([demo.artifact], options, tmp_path / "bundle", progress)
    assert progress.warnings == ["there are 2 labels, and outputs with 10 values"]


def test_an_engine_that_the_device_builds_takes_the_shapes_of_pixels(
    others: Make, tmp_path: Path
) -> None:
    if (others("trt-int8") / "engine.plan").exists():
        pytest.skip("engines are built here")
    (model,) = package([others("trt-int8")], FOLDED, tmp_path / "bundle").manifest.models
    profile = model.inputs[0].profile
    assert profile is not None
    assert (profile.min, profile.max[1:]) == ((1, 16, 16, 1), (16, 16, 1))
    assert model.golden[0].outputs[0].recorded == "graph"


def test_an_engine_that_is_built_already(others: Make) -> None:
    packed = read_packed(others("ort-fp32"), X86, set())
    built = dataclasses.replace(packed, engine_file="engine.plan")
    with pytest.raises(BundleError, match=r"is built already; .*leave out --fold-preprocess"):
        folded(built, preprocess=True, top_k=0)
    with pytest.raises(BundleError, match=r"is built already; .*leave out --top-k"):
        folded(built, preprocess=False, top_k=2)


def _compile(tmp_path: Path, body: str, **options: Any) -> Path:
    source = write_text_model(tmp_path / "net.onnx", body)
    recipe = Recipe(target="ort-fp32", duration_s=0.0, **options)
    compile_model(source, recipe, tmp_path / "artifact")
    return tmp_path / "artifact"


def _net(kind: str = "float", more: str = "") -> str:
    weights = ", ".join(f"{i % 7 - 3}" for i in range(135))
    return NET.format(kind=kind, more=more, weights=weights).replace(", )", ")")


def _options(**changes: str) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in {**BGR, **changes}.items())


def test_a_crop_and_another_channel_order(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), np.uint8)
    np.savez(tmp_path / "val.npz", images=stored)
    artifact = _compile(
        tmp_path, _net(), val=str(tmp_path / "val.npz"), preprocess=_options(crop="8x6")
    )
    bundle = tmp_path / "bundle"
    manifest = package([artifact], FOLDED, bundle).manifest
    (model,) = manifest.models
    assert model.inputs[0].shape == (-1, 8, 6, 3)
    assert manifest.preprocess == {
        "input": "x",
        "crop": [8, 6],
        "channels": "RGB",
        "layout": "NHWC",
        "dtype": "uint8",
    }
    options = Preprocess.from_options(_options())
    given = convert(stored, options, InputSpec("x", "float32", (None, 3, None, None)), "test")
    (answer,) = run(bundle / model.file, {"x": stored})
    assert np.array_equal(answer, run(artifact / "model.onnx", {"x": given})[0])
    assert np.load(bundle / model.golden[0].inputs[0].file).tolist() in [
        picture[None].tolist() for picture in stored
    ]


@pytest.mark.parametrize(
    ("body", "options", "message"),
    [
        (
            "g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }",
            ("scale=0.5",),
            "no picture for an input",
        ),
        (
            "g (float[1,3,4,4] x, float[1] z) => (float[1,3,4,4] y) { y = Add(x, z) }",
            ("scale=0.5",),
            "no picture for an input",
        ),
        (
            "g (float[N,3,4,4] x) => (float[N,3,4,4] y) { y = Relu(x) }",
            (),
            "does not say how a picture becomes its input",
        ),
        (
            "g (uint8[N,3,4,4] x) => (uint8[N,3,4,4] y) { y = Identity(x) }",
            ("layout=NCHW",),
            "is UINT8, not floats",
        ),
    ],
)
def test_what_cannot_be_folded(
    body: str, options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    artifact = _compile(tmp_path, body, preprocess=options)
    with pytest.raises(BundleError, match=message) as caught:
        package([artifact], FOLDED, tmp_path / "bundle")
    assert str(artifact) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def test_more_classes_than_there_are(demo: CompileResult, tmp_path: Path) -> None:
    options = dataclasses.replace(PLAIN, top_k=11)
    with pytest.raises(BundleError, match=r"has 10 classes, of which 11 .*leave out --top-k"):
        package([demo.artifact], options, tmp_path / "bundle")


def test_the_artifact_stays_as_it_was(demo: CompileResult, tmp_path: Path) -> None:
    copy = tmp_path / "artifact"
    shutil.copytree(demo.artifact, copy)
    before = content(copy)
    package([copy], dataclasses.replace(FOLDED, top_k=2), tmp_path / "bundle")
    assert content(copy) == before
    assert read_manifest(tmp_path / "bundle").models[0].digest


def test_serving_formats_rank_with_the_classes_of_the_graph(
    demo: CompileResult, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    labels.write_text("".join(f"digit {digit}\n" for digit in range(10)))
    options = PackageOptions(X86, labels=labels, fold_preprocess=True, top_k=10)
    package_as("triton", [demo.artifact], options, tmp_path / "triton")
    (config,) = (tmp_path / "triton").rglob("config.pbtxt")
    assert "TYPE_UINT8" in config.read_text()
    assert "label_filename" not in config.read_text()
    model = next((tmp_path / "triton").rglob("model.onnx"))
    assert onnx.load(model).graph.input[0].name == "image"


def test_a_server_in_python_ranks_a_picture_alike(demo: CompileResult, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.write_text("".join(f"digit {digit}\n" for digit in range(10)))
    plain = dataclasses.replace(PackageOptions(X86), labels=labels)
    whole = dataclasses.replace(plain, fold_preprocess=True, top_k=3)
    picture = tmp_path / "digit.png"
    Image.fromarray(pictures(1)[0, ..., 0]).save(picture)
    found = []
    for name, options in (("plain", plain), ("whole", whole)):
        package_as("torchserve", [demo.artifact], options, tmp_path / f"{name}.mar")
        shutil.unpack_archive(tmp_path / f"{name}.mar", tmp_path / name, "zip")
        folder = tmp_path / name
        with (
            importable(folder, "bmopt_session") as session,
            importable(folder, "bmopt_pixels") as pixels,
        ):
            model = session.Model(folder)
            port = model.inputs["image"]
            feed = pixels.from_image(picture.read_bytes(), model.facts["preprocess"], port)
            found.append(model.top(model.run({"image": feed}), 3))
    assert found[0] == found[1]
    assert len(found[0][0]) == 3


def test_indices_have_no_quantisation_step() -> None:
    model = parse(
        """g (float[N,4] x) => (float[N,2] v, int64[N,2] i)
            <float s = {0.5}, uint8 z = {3}, int64[1] k = {2}> {
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v, i = TopK(d, k)
        }"""
    )
    assert output_steps(model) == {"v": 0.5}
