"""Small real bundles of several shapes for the serving formats: what ONNX Runtime answers."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from bmopt.bundle.manifest import (
    GoldenInput,
    GoldenOutput,
    GoldenPair,
    Manifest,
    Model,
    Needs,
    Port,
    RuntimeNeed,
)
from bmopt.core.runner import Array, Feeds
from tests.bundle.bundles import PLATFORM, entries, rewrite

SEED = 7
PIXELS = {"resize": 10, "crop": [8, 8], "scale": 1 / 255, "mean": [0.4, 0.5, 0.6], "std": [0.25]}

_WEIGHTS = ", ".join(f"{(7 * i % 11 - 5) / 8}" for i in range(5 * 3 * 3 * 3))
IMAGES = f"""
<ir_version: 8, opset_import: ["" : 17]>
images (float[N, 3, 8, 8] pixels) => (float[N, 5] scores)
<float[5, 3, 3, 3] w = {{ {_WEIGHTS} }}>
{{
  c = Conv<kernel_shape=[3, 3]>(pixels, w)
  r = Relu(c)
  p = GlobalAveragePool(r)
  scores = Flatten(p)
}}
"""
_INT8 = ", ".join(f"{37 * i % 211 - 105}" for i in range(8 * 5))
QUANTISED = f"""
<ir_version: 8, opset_import: ["" : 17]>
quantised (float[N, 8] x) => (float[N, 5] y)
<float xs = {{0.02}}, uint8 xz = {{128}}, float ws = {{0.01}}, int8 wz = {{0}},
 float ys = {{0.05}}, uint8 yz = {{120}}, int8[8, 5] w = {{ {_INT8} }}>
{{
  xq = QuantizeLinear(x, xs, xz)
  xd = DequantizeLinear(xq, xs, xz)
  wd = DequantizeLinear(w, ws, wz)
  m = MatMul(xd, wd)
  mq = QuantizeLinear(m, ys, yz)
  y = DequantizeLinear(mq, ys, yz)
}}
"""
SIGNED = f"""
<ir_version: 8, opset_import: ["" : 17]>
signed (float[N, 8, 4, 4] x) => (float[N, 5, 4, 4] y)
<float xs = {{0.02}}, int8 z = {{0}}, float ws = {{0.01}}, float ys = {{0.05}},
 int8[5, 8, 1, 1] w = {{ {_INT8} }}>
{{
  xq = QuantizeLinear(x, xs, z)
  xd = DequantizeLinear(xq, xs, z)
  wd = DequantizeLinear(w, ws, z)
  c = Conv<kernel_shape=[1, 1]>(xd, wd)
  cq = QuantizeLinear(c, ys, z)
  y = DequantizeLinear(cq, ys, z)
}}
"""
TWO_INPUTS = """
<ir_version: 8, opset_import: ["" : 17]>
two (float[2, 3] left, int64[2, 3] right) => (float[2, 3] sum, int64 size)
{
  f = Cast<to=1>(right)
  sum = Add(left, f)
  size = Size(sum)
}
"""
TOKENS = """
<ir_version: 8, opset_import: ["" : 17]>
tokens (float[batch, 4] a, float[length, 4] b) => (float[batch, length] c)
{ t = Transpose<perm=[1, 0]>(b) c = MatMul(a, t) }
"""

Change = Callable[[Manifest], Manifest]


def write_packed(
    folder: Path, *texts: str, labels: Sequence[str] = (), change: Change | None = None
) -> Path:
    """Write a bundle of models with one golden inference each, without a runner."""
    models = tuple(_write_model(folder, f"m{index}", text) for index, text in enumerate(texts))
    if labels:
        (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    manifest = Manifest(
        bmopt="0.1.0",
        name="net",
        platform=PLATFORM,
        models=models,
        files=entries(folder),
        labels="labels.txt" if labels else None,
    )
    rewrite(folder, change(manifest) if change else manifest)
    return folder


def with_models(**changes: object) -> Change:
    """Return what replaces fields of every model."""
    return lambda manifest: dataclasses.replace(
        manifest,
        models=tuple(dataclasses.replace(model, **changes) for model in manifest.models),  # type: ignore[arg-type]
    )


def with_pixels(manifest: Manifest) -> Manifest:
    """Say how images become the input of ``IMAGES``."""
    options = {"input": "pixels", **PIXELS, "channels": "BGR", "layout": "NCHW"}
    return dataclasses.replace(manifest, preprocess=options)


def golden(folder: Path, model: Model) -> tuple[dict[str, Array], dict[str, Array]]:
    pair = model.golden[0]
    return (
        {item.name: np.load(folder / item.file) for item in pair.inputs},
        {item.name: np.load(folder / item.file) for item in pair.outputs},
    )


@contextmanager
def importable(folder: Path, name: str) -> Iterator[ModuleType]:
    """Import a module of a folder, as a server does that puts the folder on the path."""
    before, known = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[name] = module
        found.loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = before
        for added in [key for key in sys.modules if key not in known and key.startswith("bmopt_")]:
            del sys.modules[added]
        sys.modules.pop(name, None)


def _write_model(folder: Path, name: str, text: str) -> Model:
    path = folder / f"models/{name}/model.onnx"
    path.parent.mkdir(parents=True)
    proto = onnx.parser.parse_model(text)
    onnx.save(proto, path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {value.name: _values(value) for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    answers = dict(zip(names, session.run(names, feeds), strict=True))
    place = f"golden/{name}/0"
    (folder / place).mkdir(parents=True)
    given = _save(folder, f"{place}/input", feeds)
    found = _save(folder, f"{place}/output", answers)
    return Model(
        name=name,
        target="ort-fp32",
        engine="onnxruntime",
        file=f"models/{name}/model.onnx",
        digest="ab" * 32,
        needs=Needs((), (), RuntimeNeed("onnxruntime", "1.20", "", ort.__version__)),
        inputs=tuple(map(_port, proto.graph.input)),
        outputs=tuple(map(_port, proto.graph.output)),
        golden=(
            GoldenPair(
                tuple(GoldenInput(key, file) for key, file in given.items()),
                tuple(GoldenOutput(key, file, 1e-4) for key, file in found.items()),
            ),
        ),
    )


def _values(value: Any) -> Array:
    shape = [size if isinstance(size, int) else 2 for size in value.shape]
    random = np.random.default_rng(SEED)
    if "int64" in value.type:
        return random.integers(0, 9, shape)
    return random.normal(size=shape).astype(np.float32)


def _save(folder: Path, prefix: str, arrays: Feeds) -> Mapping[str, str]:
    files = {name: f"{prefix}_{index}.npy" for index, name in enumerate(arrays)}
    for name, file in files.items():
        np.save(folder / file, arrays[name])
    return files


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    return Port(
        value.name,
        ir.DataType(tensor.elem_type).numpy().name,
        tuple(-1 if dim.dim_param else dim.dim_value for dim in dims),
        tuple(dim.dim_param or None for dim in dims),
    )
