"""The manifest: what is written is read back, and nothing malformed is taken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bundle.layout import checked_path
from bmopt.bundle.manifest import (
    MAX_BYTES,
    AccuracyFact,
    Calibration,
    FileEntry,
    GoldenInput,
    GoldenOutput,
    GoldenPair,
    LatencyFact,
    Manifest,
    Model,
    Needs,
    Port,
    Profile,
    RuntimeNeed,
    Source,
)
from bmopt.bundle.manifest_json import from_json, read_manifest, to_json
from bmopt.errors import BundleError

SHA = "ab" * 32
PAIR = GoldenPair(
    (GoldenInput("image", "golden/a/0/input_0.npy"),),
    (GoldenOutput("logits", "golden/a/0/output_0.npy", 0.25, 0.125, "graph"),),
)
MODEL = Model(
    name="a",
    target="ort-int8:x86-vnni",
    engine="onnxruntime",
    file="models/a/model.onnx",
    digest=SHA,
    needs=Needs(
        (("avx2",), ("avx512_vnni", "avx_vnni")),
        ("sm86",),
        RuntimeNeed("onnxruntime", "1.23", "", "1.32.0"),
    ),
    inputs=(
        Port(
            "image",
            "float32",
            (-1, 3, 8, 8),
            ("N", None, None, None),
            layout="NCHW",
            range=(-1.0, 2.5),
            profile=Profile((1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8)),
        ),
    ),
    outputs=(Port("logits", "float32", (-1, 10), (None, None)),),
    golden=(PAIR,),
    passes="simplify",
    versions={"onnxruntime": "1.32.0"},
    session={"session.disable_quant_qdq": "1"},
    source=Source("digits.onnx", SHA, SHA),
    calibration=Calibration(SHA, 256),
    accuracy=AccuracyFact("top1", 0.8, 0.81, 2000, "on the validation samples"),
    latency=LatencyFact(123.0, 0.5, (0.4, 0.6), "a CPU", "in turns"),
)
FILES = ("models/a/model.onnx", "golden/a/0/input_0.npy", "golden/a/0/output_0.npy", "labels.txt")
MANIFEST = Manifest(
    bmopt="0.1.0",
    name="digits",
    platform="x86_64-linux",
    models=(MODEL,),
    files={path: FileEntry(SHA, 7) for path in FILES},
    preprocess={"input": "image", "crop": [8, 8], "scale": 0.5, "mean": [0.1], "layout": "NCHW"},
    labels="labels.txt",
)


def document() -> dict[str, Any]:
    return dict(json.loads(to_json(MANIFEST)))


def read(changed: object) -> Manifest:
    return from_json(json.dumps(changed), "m")


def test_what_is_written_is_read_back() -> None:
    assert from_json(to_json(MANIFEST), "m") == MANIFEST


def test_one_flag_is_a_text_and_alternatives_are_a_list() -> None:
    cpu = document()["models"][0]["needs"]["cpu"]
    assert cpu == ["avx2", ["avx512_vnni", "avx_vnni"]]


def test_what_is_not_set_is_left_out_and_null_means_the_same() -> None:
    written = document()
    assert "layout" not in written["models"][0]["outputs"][0]
    for key in ("source", "calibration", "accuracy", "latency"):
        written["models"][0][key] = None
    written["labels"] = written["preprocess"] = None
    model = read(written).models[0]
    assert (model.source, model.accuracy, model.latency) == (None, None, None)


def test_keys_that_this_version_does_not_know_are_passed_over() -> None:
    written = document()
    written["later"] = written["models"][0]["later"] = {"anything": [1]}
    assert read(written) == MANIFEST


def change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    *above, last = path.split("/")

    def apply(root: Any) -> None:
        for key in above:
            root = root[int(key) if key.isdigit() else key]
        root[int(last) if last.isdigit() else last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("bmopt_bundle", 2, "schema 2"),
        ("bmopt_bundle", True, "no manifest"),
        ("bmopt_bundle", None, "no manifest"),
        ("bmopt", 1, "bmopt has to be a text"),
        ("name", "../up", "is no name"),
        ("name", "", "is no name"),
        ("platform", "riscv64-linux", "platform has to be one of"),
        ("models", [], "models have to be there"),
        ("models", {}, "models has to be a list"),
        ("models/0", 3, "expected an object"),
        ("models/0/engine", "python", "engine has to be one of"),
        ("models/0/file", "/etc/passwd", "no path inside"),
        ("models/0/file", "models/../../x", "no path inside"),
        ("models/0/file", "models/b.onnx", "not listed"),
        ("models/0/needs/cpu", "avx2", "cpu has to be a list"),
        ("models/0/needs/cpu", [[]], "cpu has to be a list"),
        ("models/0/needs/runtime", None, "runtime is missing"),
        ("models/0/inputs", [], "inputs have to be there"),
        ("models/0/inputs/0/dtype", "bfloat16", "dtype has to be one of"),
        ("models/0/inputs/0/shape", [1, 2], "axes as many"),
        ("models/0/inputs/0/shape", [-2, 3, 8, 8], "whole numbers from -1"),
        ("models/0/inputs/0/shape", [True, 3, 8, 8], "whole numbers"),
        ("models/0/inputs/0/shape", [1 << 63, 3, 8, 8], "whole numbers"),
        ("models/0/inputs/0/axes", [1, None, None, None], "axes have to be texts"),
        ("models/0/inputs/0/layout", "CHWN", "layout has to be one of"),
        ("models/0/inputs/0/range", [1], "list of 2 numbers"),
        ("models/0/golden/0/outputs/0/tolerance", -1, "tolerance"),
        ("models/0/golden/0/outputs/0/tolerance", "1", "tolerance has to be a number"),
        ("models/0/golden/0/outputs/0/step", 0, "step"),
        ("models/0/golden/0/outputs/0/name", "others", "every input and output once"),
        ("models/0/golden/0/inputs", [], "every input and output once"),
        ("models/0/name", "line\nbreak", "name has to be a text"),
        ("labels", "nowhere.txt", "not listed"),
        ("preprocess/input", None, "input is missing"),
        ("preprocess/crop", "wide", "crop"),
        ("files/labels.txt", {"sha256": SHA[1:], "bytes": 1}, "64 hexadecimal"),
        ("files/labels.txt", {"sha256": SHA, "bytes": -1}, "whole number from 0"),
        ("files/a\\b", {"sha256": SHA, "bytes": 1}, "no path inside"),
        ("files/manifest.json", {"sha256": SHA, "bytes": 1}, "must not be listed"),
    ],
)
def test_malformed_manifests_are_refused_in_one_line(
    path: str, value: object, message: str
) -> None:
    written = document()
    change(path, value)(written)
    with pytest.raises(BundleError, match=message) as caught:
        read(written)
    assert "\n" not in str(caught.value)


def test_two_models_need_two_names() -> None:
    written = document()
    written["models"].append(copy.deepcopy(written["models"][0]))
    with pytest.raises(BundleError, match="a name of its own"):
        read(written)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no JSON"),
        (b"\xff{}", "no JSON"),
        (b"[1]", "expected an object"),
        (b'{"bmopt_bundle": NaN}', "no JSON number"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"[" * 33 + b"]" * 33, "more than 32 levels"),
        (b"[" * 100_000, "more than 32 levels"),
        (b" " * (MAX_BYTES + 1), "larger than 4 MiB"),
    ],
    ids=["empty", "encoding", "list", "nan", "twice", "nested", "deep", "large"],
)
def test_what_is_no_manifest_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        from_json(data, "m")


def test_brackets_in_texts_are_no_nesting() -> None:
    written = document()
    written["models"][0]["passes"] = '[{"' * 40
    assert read(written).models[0].passes == '[{"' * 40


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("path", ["a", "a/b.c", "größe/x", "a" * 255, "/".join(["abc"] * 256)])
def test_paths_inside(path: str) -> None:
    assert checked_path(path, "m") == path


@pytest.mark.parametrize(
    "path",
    ["", "/", "a/", "/a", "a//b", ".", "a/./b", "..", "a/..", "a\0", "a\\b", "a" * 256,
     "/".join(["abcd"] * 206)],
)  # fmt: skip
def test_paths_that_leave_or_break(path: str) -> None:
    with pytest.raises(BundleError, match="no path inside"):
        checked_path(path, "m")


@given(st.data())
def test_any_damage_is_a_bundle_error_or_nothing(data: st.DataObject) -> None:
    """No other exception, whatever stands in the place of a value."""
    written = document()
    place: Any = written
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        if data.draw(st.booleans()) or not isinstance(place[key], dict | list):
            place[key] = data.draw(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text()
                | st.lists(st.integers()) | st.dictionaries(st.text(), st.integers())
            )  # fmt: skip
            break
        place = place[key]
    try:
        read(written)
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017 - nothing else may be raised
