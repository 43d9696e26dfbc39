"""A small real bundle, written by hand: a model, what ONNX Runtime answers, a program, a text."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from bmopt.bundle.layout import MANIFEST, SIGNATURE, SUMS
from bmopt.bundle.manifest import (
    FileEntry,
    GoldenInput,
    GoldenOutput,
    GoldenPair,
    Manifest,
    Model,
    Needs,
    Port,
    RuntimeNeed,
)
from bmopt.bundle.manifest_json import to_json
from bmopt.bundle.signing import sign
from bmopt.bundle.sums import write_sums
from bmopt.core import digest
from bmopt.core.cpuinfo import architecture

NAME = "small"
PLATFORM = f"{architecture()}-{sys.platform}"
MODEL_FILE = "models/ort-fp32/model.onnx"

_TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
small (float[n, 4] input) => (float[n, 3] logits) <float[4, 3] weight = {
  0.5, -1.0, 0.25, 2.0, 0.125, -0.5, 1.5, 0.75, -0.25, 1.0, -2.0, 0.5}>
{ product = MatMul(input, weight) logits = Relu(product) }
"""

Change = Callable[[Manifest], Manifest]


def write_bundle(folder: Path, *, key: Path | None = None, change: Change | None = None) -> Path:
    """Write a bundle; ``change`` edits its manifest before the checksums are taken."""
    model = folder / MODEL_FILE
    model.parent.mkdir(parents=True)
    onnx.save(onnx.parser.parse_model(_TEXT), model)
    (folder / "bin").mkdir()
    (folder / "bin/tool").write_bytes(b"#!/bin/sh\nexit 0\n")
    (folder / "bin/tool").chmod(0o755)
    (folder / "labels.txt").write_text("one\ntwo\nthree\n")
    (folder / "empty").write_bytes(b"")
    pair = _record(folder)
    manifest = Manifest(
        bmopt="0.1.0", name=NAME, platform=PLATFORM, models=(_model(pair),), files=entries(folder)
    )
    rewrite(folder, change(manifest) if change else manifest)
    write_sums(folder)
    if key is not None:
        sign(folder, key)
    return folder


def rewrite(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(to_json(manifest), encoding="utf-8")


def entries(folder: Path) -> dict[str, FileEntry]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: FileEntry(digest.of_file(path), path.stat().st_size)
        for name, path in names.items()
        if name not in (MANIFEST, SUMS, SIGNATURE)
    }


def changed_model(**changes: object) -> Change:
    """Return what replaces fields of the one model."""

    def change(manifest: Manifest) -> Manifest:
        model = dataclasses.replace(manifest.models[0], **changes)  # type: ignore[arg-type]
        return dataclasses.replace(manifest, models=(model,))

    return change


def write_key(path: Path, *, seed: int = 1) -> Path:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    plain = s.NoEncryption()
    path.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, plain))
    return path


def public_of(key: Path) -> bytes:
    from bmopt.bundle.keys import private_key

    return private_key(key).public_key().public_bytes_raw()


def contents(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Return path -> (bytes, whether it is a program) of every file."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _record(folder: Path) -> GoldenPair:
    place = folder / "golden/ort-fp32/0"
    place.mkdir(parents=True)
    values = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    session = ort.InferenceSession(folder / MODEL_FILE, providers=["CPUExecutionProvider"])
    np.save(place / "input_0.npy", values)
    np.save(place / "output_0.npy", session.run(None, {"input": values})[0])
    return GoldenPair(
        (GoldenInput("input", "golden/ort-fp32/0/input_0.npy"),),
        (GoldenOutput("logits", "golden/ort-fp32/0/output_0.npy", 1e-5),),
    )


def _model(pair: GoldenPair) -> Model:
    return Model(
        name="ort-fp32",
        target="ort-fp32",
        engine="onnxruntime",
        file=MODEL_FILE,
        digest="0" * 64,
        needs=Needs((), (), RuntimeNeed("onnxruntime", "1.20", "", ort.__version__)),
        inputs=(Port("input", "float32", (-1, 4), ("n", None)),),
        outputs=(Port("logits", "float32", (-1, 3), ("n", None)),),
        golden=(pair,),
    )
