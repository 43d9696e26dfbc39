"""Half precision on real models: valid, close on real samples, accepted by TensorRT-RTX."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.calibration.casting import make_cast_plan
from bmopt.core.cast_plan import CastPlan, HalfType
from bmopt.core.runner import Array
from bmopt.errors import CalibrationError, DataError
from bmopt.graph.model_io import load_model
from bmopt.optimizer.passes.cast_float import CastFloat
from tests.casting import needless_casts
from tests.engine import PlainRunner
from tests.quantizing import as_bytes, measured, sqnr_db
from tests.rewriting import random_feeds, run_plain
from tests.shared_data import needs_shared, shared_dir

pytestmark = [pytest.mark.zoo, needs_shared]

NOT_SOUND = {"nv_constant_fold_bloater", "nv_residual_block"}
"""Models that ONNX's strict inference refuses before any conversion."""

NOT_CLOSE = {"resnet8_already_int8_qdq"}
"""A tensor that lies between two codes goes to another one when it is rounded to half precision;
that is noise of the size of the quantisation itself."""

LOWEST_DB = 35.0


def _files(folder: str) -> list[Path]:
    root = shared_dir()
    return [] if root is None else sorted((root / folder).glob("*.onnx"))


def _samples(spec: dict[str, Any], root: Path) -> Array:
    """Return calibration samples as the manifest says; noise where they are image files."""
    data = spec["data"]["calib"]
    if data["file"].endswith(".csv"):
        return np.random.default_rng(0).uniform(-1, 1, (20, 3, 224, 224)).astype(np.float32)
    raw = np.load(root / data["file"])[data["x"]][:48].astype(np.float32)
    how = spec["preprocess"]
    if how["kind"] == "cast":
        return raw
    scaled = (raw * np.float32(how["scale"]) - np.float32(how["mean"])) / np.float32(how["std"])
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def _labelled(path: Path) -> dict[str, Array]:
    root = shared_dir()
    assert root is not None
    spec = json.loads((root / "manifest.json").read_text())["models"][path.stem]
    return {spec["input"]["name"]: _samples(spec, root)}


def _plan(model: ir.Model, samples: dict[str, Array], dtype: HalfType = "float16") -> CastPlan:
    table = None
    if all(array.ndim for array in samples.values()):
        # Random samples do not fit every model; it is planned by its constants then.
        with contextlib.suppress(CalibrationError, DataError):
            table = measured(model, samples)
    return make_cast_plan(model, dtype, table=table, model_digest="m" * 64)


def _converted(model: ir.Model, plan: CastPlan, *, sound: bool = True) -> ir.Model:
    copy = model.clone()
    CastFloat(plan)(copy)
    assert needless_casts(copy, model) == []
    assert not CastFloat(plan)(copy).modified
    if sound:
        onnx.checker.check_model(ir.to_proto(copy), full_check=True)
    return copy


@pytest.mark.parametrize("path", _files("models"), ids=lambda path: path.stem)
def test_labelled_models_stay_close(path: Path) -> None:
    model = load_model(path)
    samples = _labelled(path)
    plan = _plan(model, samples)
    assert plan.float_nodes == {}
    copy = _converted(model, plan)
    feeds = {name: array[-16:] for name, array in samples.items()}
    want, got = run_plain(model, feeds)[0], run_plain(copy, feeds)[0]
    assert sqnr_db(want, got) > LOWEST_DB
    np.testing.assert_array_equal(want.argmax(1), got.argmax(1))


@pytest.mark.parametrize("path", _files("zoo/models"), ids=lambda path: path.stem)
def test_zoo_models_convert_and_stay_close(path: Path) -> None:
    model = load_model(path)
    feeds = random_feeds(model)
    copy = _converted(model, _plan(model, feeds), sound=path.stem not in NOT_SOUND)
    with PlainRunner(model) as one, PlainRunner(copy) as other:
        try:
            want = one.run(feeds)
        except DataError:
            return  # random samples do not fit the model itself
        got = other.run(feeds)
    for name, array in want.items():
        if np.issubdtype(array.dtype, np.floating) and path.stem not in NOT_CLOSE:
            assert sqnr_db(array, got[name]) > LOWEST_DB, name


@pytest.mark.parametrize("path", _files("models"), ids=lambda path: path.stem)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_tensorrt_rtx_takes_the_labelled_models(path: Path, dtype: HalfType) -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    model = load_model(path)
    plan = make_cast_plan(model, dtype, table=None, model_digest="m" * 64)
    logger = rtx.Logger(rtx.Logger.ERROR)
    builder = rtx.Builder(logger)
    flag = 1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag)
    parser = rtx.OnnxParser(network, logger)
    accepted = parser.parse(as_bytes(_converted(model, plan)))
    assert accepted, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    wanted = rtx.DataType.HALF if dtype == "float16" else rtx.DataType.BF16
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    kinds = (rtx.LayerType.CONVOLUTION, rtx.LayerType.MATRIX_MULTIPLY)
    products = [layer for layer in layers if layer.type in kinds]
    assert products
    assert {n.get_output(0).dtype for n in products} == {wanted}
