"""ONNX models, and the IRs that OpenVINO makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmopt.core.runner import Array, Feeds
from tests.graph.model_files import proto_of, write

openvino = pytest.importorskip("openvino")

CONV_NET = """g (float[N,3,8,8] image) => (float[N,5] scores, float[N,4,8,8] seen)
    { c = Conv<pads=[1,1,1,1]>(image, w, b) seen = Relu(c) m = GlobalAveragePool(seen)
      f = Flatten(m) scores = Gemm(f, v) }"""


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


WEIGHTS = {"w": random(4, 3, 3, 3), "b": random(4, seed=1), "v": random(4, 5, seed=2)}


def images(count: int, seed: int = 3) -> Feeds:
    return {"image": random(count, 3, 8, 8, seed=seed)}


def onnx_file(
    folder: Path,
    text: str = CONV_NET,
    weights: dict[str, Array] | None = None,
    *,
    named: bool = False,
) -> Path:
    """Write a model; its nodes have no names, or such as have nothing to do with tensors'."""
    proto = proto_of(text, WEIGHTS if text == CONV_NET else weights)
    for index, node in enumerate(proto.graph.node):
        node.name = f"/net/node{index}" if named else ""
    return write(folder / "m.onnx", proto)


def ir_of(path: Path) -> Path:
    """Convert an ``.onnx`` file, its weights kept in float32."""
    out = path.with_suffix(".xml")
    openvino.save_model(openvino.Core().read_model(path), out, compress_to_fp16=False)
    return out
