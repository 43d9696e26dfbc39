"""The structural passes, to a fixed point, on real models with much shape arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import NameFixPass

from bmopt.graph.origin import origin_of, stamp_origins
from bmopt.optimizer.registry import find_pass
from tests.rewriting import run_plain
from tests.shared_data import needs_shared, shared_dir

_PASSES = (
    "inline-functions,lift-constants,drop-dead,merge-initializers,infer-shapes,drop-no-ops,"
    "fold-shapes,fold-constants,inline-branches,merge-common,merge-transposes,hoist-reshapes,"
    "merge-reshapes,merge-slices"
)

_MODELS = {
    "models/vit_pgd_cifar10.onnx": 80,
    "zoo/models/resnet20_opset11.onnx": 53,
    "zoo/models/silero_vad.onnx": 150,
    "zoo/models/synthetic_loop_rnn.onnx": 11,
    "zoo/models/vnn23_cctsdb_yolo_patch-1.onnx": 137,
    "zoo/models/vnn23_ml4acopf_14_ieee_ml4acopf.onnx": 94,
    "zoo/models/vnn23_nn4sys_mscn_128d.onnx": 41,
}
"""Model -> most nodes that may be left."""


def _simplify(model: ir.Model) -> None:
    NameFixPass()(model)
    stamp_origins(model)
    for _ in range(8):
        outcomes = [find_pass(name)()(model) for name in _PASSES.split(",")]
        if not any(outcome.modified for outcome in outcomes):
            return
    raise AssertionError("no fixed point")


def _feeds(model: ir.Model, name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    if "silero" in name:
        return {
            "input": rng.uniform(-1, 1, (2, 512)).astype(np.float32),
            "state": rng.uniform(-1, 1, (2, 2, 128)).astype(np.float32),
            "sr": np.array(16000, np.int64),
        }
    feeds = {}
    for value in model.graph.inputs:
        assert value.shape is not None
        shape = [d if isinstance(d, int) else 3 for d in value.shape]
        feeds[value.name or ""] = rng.uniform(-1, 1, shape).astype(np.float32)
    return feeds


@needs_shared
@pytest.mark.zoo
@pytest.mark.parametrize("name", _MODELS)
def test_few_nodes_are_left_and_results_are_the_same(name: str) -> None:
    root = shared_dir()
    assert root is not None
    path: Path = root / name
    model = ir.load(path)
    feeds = _feeds(model, name)
    expected = run_plain(model, feeds)
    _simplify(model)
    assert sum(1 for _ in model.graph.all_nodes()) <= _MODELS[name]
    assert all(origin_of(node) for node in model.graph.all_nodes())
    for want, got in zip(expected, run_plain(model, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
