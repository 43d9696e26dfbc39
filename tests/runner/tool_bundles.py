"""Bundles for bmopt-run, with real models, and the tool itself as a subprocess."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from bmopt.bundle.layout import LABELS, MANIFEST, SIGNATURE, SUMS
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
from bmopt.bundle.native import own_platform
from bmopt.bundle.sums import write_sums
from bmopt.core import digest

Array = npt.NDArray[Any]

_NAMES = {1: "float32", 2: "uint8", 7: "int64", 10: "float16"}

SCORES = """
<ir_version: 8, opset_import: ["" : 17]>
small (float[n, 4] input) => (float[n, 3] logits) <float[4, 3] weight = {
  0.5, -1.0, 0.25, 2.0, 0.125, -0.5, 1.5, 0.75, -0.25, 1.0, -2.0, 0.5}>
{ logits = MatMul(input, weight) }
"""


def pixels_model(dtype: str, shape: Sequence[int | str]) -> str:
    """Return a model whose output is its input."""
    axes = ", ".join(map(str, shape))
    return (
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        f"same ({dtype}[{axes}] input) => ({dtype}[{axes}] output) {{ output = Identity(input) }}"
    )


def write_bundle(
    folder: Path,
    text: str = SCORES,
    *,
    golden: Mapping[str, Array] | None = None,
    tolerance: float = 1e-5,
    cpu: tuple[tuple[str, ...], ...] = (),
    platform: str | None = None,
    preprocess: Mapping[str, Any] | None = None,
    labels: str | None = None,
) -> Path:
    """Write a bundle of one model with what ONNX Runtime answers to ``golden``."""
    model = onnx.parser.parse_model(text)
    file = folder / "models/m/model.onnx"
    file.parent.mkdir(parents=True)
    onnx.save(model, file)
    if labels is not None:
        (folder / LABELS).write_text(labels)
    needs = Needs(cpu, (), RuntimeNeed("onnxruntime", "1.20", "", ort.__version__))
    described = Model(
        name="m",
        target="ort-fp32",
        engine="onnxruntime",
        file="models/m/model.onnx",
        digest="0" * 64,
        needs=needs,
        inputs=tuple(map(_port, model.graph.input)),
        outputs=tuple(map(_port, model.graph.output)),
        golden=() if golden is None else (_record(folder, file, golden, tolerance),),
    )
    manifest = Manifest(
        bmopt="0.1.0",
        name="tried",
        platform=own_platform() if platform is None else platform,
        models=(described,),
        files=_entries(folder),
        preprocess=None if preprocess is None else {"input": "input", **preprocess},
        labels=None if labels is None else LABELS,
    )
    (folder / MANIFEST).write_text(to_json(manifest), encoding="utf-8")
    write_sums(folder)
    return folder


@dataclasses.dataclass(frozen=True)
class Tool:
    """bmopt-run, and ONNX Runtime's library for it."""

    program: Path
    library: Path

    def run(self, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it and check how it ends: an error is one line, a success has none."""
        given = list(map(str, arguments))
        library = [] if "--library" in given else ["--library", str(self.library)]
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
        done = subprocess.run(
            [str(self.program), *given, *library],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        assert done.stderr.count("\n") == (1 if expect else 0), done.stderr
        assert not expect or done.stderr.startswith("bmopt-run: error: ")
        return done

    def json(self, *arguments: object, expect: int = 0) -> Any:
        """Run it with --json and return the document."""
        return json.loads(self.run(*arguments, "--json", expect=expect).stdout)

    def refusal(self, status: int, *arguments: object) -> str:
        """Run it where it has to fail and return what it says."""
        return self.run(*arguments, expect=status).stderr


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    name = _NAMES[tensor.elem_type]
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
    return Port(value.name, name, shape, tuple(dim.dim_param or None for dim in dims))


def _record(folder: Path, model: Path, feeds: Mapping[str, Array], tolerance: float) -> GoldenPair:
    place = "golden/m/0"
    (folder / place).mkdir(parents=True)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs, outputs = [], []
    for i, (name, array) in enumerate(feeds.items()):
        np.save(folder / place / f"input_{i}.npy", array)
        inputs.append(GoldenInput(name, f"{place}/input_{i}.npy"))
    for i, array in enumerate(session.run(None, dict(feeds))):
        np.save(folder / place / f"output_{i}.npy", array)
        name = session.get_outputs()[i].name
        outputs.append(GoldenOutput(name, f"{place}/output_{i}.npy", tolerance))
    return GoldenPair(tuple(inputs), tuple(outputs))


def _entries(folder: Path) -> dict[str, FileEntry]:
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    unlisted = {MANIFEST, SUMS, SIGNATURE}
    return {
        name: FileEntry(digest.of_file(path), path.stat().st_size)
        for name, path in sorted(files.items())
        if name not in unlisted
    }
