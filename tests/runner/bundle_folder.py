"""A bundle written by hand, as the contract of the folder has it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnxruntime as ort

MODELS = {
    "affine": """<ir_version: 8, opset_import: ["" : 17]>
        affine (float[N,3] x) => (float[N,3] y) <float two = {2.0}, float one = {1.0}>
        { t = Mul(x, two)  y = Add(t, one) }""",
    "found": """<ir_version: 8, opset_import: ["" : 17]>
        found (float[4] x) => (int64[1,K] y) { y = NonZero(x) }""",
    "types": """<ir_version: 8, opset_import: ["" : 17]>
        types (int8[2] i8, int64[2] i64, float16[2] f16, bool[2] b)
          => (int8[2] ni8, int64[2] ni64, float16[2] nf16, bool[2] nb)
        <int64 one = {1}, float half = {0.5}>
        {
          ni8 = Neg(i8)
          ni64 = Add(i64, one)
          f32 = Cast<to = 1>(f16)
          h32 = Mul(f32, half)
          nf16 = Cast<to = 10>(h32)
          nb = Not(b)
        }""",
}
_NAMES = {1: "float32", 3: "int8", 7: "int64", 9: "bool", 10: "float16"}


def write_bundle(
    folder: Path, names: tuple[str, ...] = tuple(MODELS), *, platform: str, engine: str = ""
) -> Path:
    models = [_write_model(folder, name, engine or "onnxruntime") for name in names]
    manifest = {
        "bmopt_bundle": 1,
        "bmopt": "0.1.0",
        "name": "by_hand",
        "platform": platform,
        "models": models,
    }
    seal(folder, manifest)
    return folder


def read_manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def seal(folder: Path, manifest: Any) -> None:
    """Write manifest and checksums of what is there."""
    manifest["files"] = {
        path: {"sha256": _sum(folder / path), "bytes": (folder / path).stat().st_size}
        for path in _files(folder)
        if path not in ("manifest.json", "SHA256SUMS")
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write_sums(folder)


def write_sums(folder: Path) -> None:
    paths = [path for path in _files(folder) if path != "SHA256SUMS"]
    lines = (f"{_sum(folder / path)}  {path}\n" for path in paths)
    (folder / "SHA256SUMS").write_text("".join(lines))


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_model(folder: Path, name: str, engine: str) -> dict[str, Any]:
    model = onnx.parser.parse_model(MODELS[name])
    file = f"models/{name}/model.onnx"
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_bytes(model.SerializeToString())
    return {
        "name": name,
        "target": "ort-fp32",
        "engine": engine,
        "file": file,
        "digest": "",
        "needs": {
            "cpu": [],
            "gpu": [],
            "runtime": {"name": "onnxruntime", "min": "1.16", "below": "", "made_with": "1.23"},
        },
        "session": {"session.intra_op.allow_spinning": "0"},
        "inputs": [_port(value) for value in model.graph.input],
        "outputs": [_port(value) for value in model.graph.output],
        "golden": [_write_golden(folder, name, model)],
    }


def _port(value: Any) -> dict[str, Any]:
    tensor = value.type.tensor_type
    shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    return {"name": value.name, "dtype": _NAMES[tensor.elem_type], "shape": shape}


def _write_golden(folder: Path, name: str, model: Any) -> dict[str, Any]:
    feeds = {value.name: _values(_port(value)) for value in model.graph.input}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in model.graph.output]
    answers = dict(zip(names, session.run(names, feeds), strict=True))
    golden = folder / f"golden/{name}/0"
    golden.mkdir(parents=True)
    pair: dict[str, Any] = {}
    for kind, arrays in (("input", feeds), ("output", answers)):
        pair[f"{kind}s"] = []
        for index, (key, array) in enumerate(arrays.items()):
            np.save(golden / f"{kind}_{index}.npy", array)
            entry = {"name": key, "file": f"golden/{name}/0/{kind}_{index}.npy"}
            pair[f"{kind}s"].append(entry | ({"tolerance": 1e-6} if kind == "output" else {}))
    return pair


def _values(port: dict[str, Any]) -> Any:
    shape = [2 if size < 0 else size for size in port["shape"]]
    values = np.random.default_rng(0).normal(0, 4, shape).round(1)
    return (values > 0) if port["dtype"] == "bool" else values.astype(port["dtype"])
