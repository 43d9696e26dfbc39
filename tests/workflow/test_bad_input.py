"""Every bad input ends in one line, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bmopt.core.runner import Array
from bmopt.errors import (
    BmoptError,
    DataError,
    ModelError,
    OutputError,
    PassError,
    QuantizationError,
    TargetError,
    UsageError,
)
from bmopt.workflow.compiling import CompileResult
from tests.optimizer.literals import weights
from tests.workflow.demo_runs import DEMO, QUICK, compile_demo, images, write_text_model

Make = Callable[[Path], Any]


def require_refused(
    folder: Path, error: type[BmoptError], message: str, *, out: str = "out", **options: Any
) -> None:
    """Compile into ``folder/outputs``: it must fail in one line and write nothing there."""
    outputs = folder / "outputs"
    outputs.mkdir(exist_ok=True)
    before = sorted(outputs.rglob("*"))
    with pytest.raises(BmoptError, match=message) as caught:
        compile_demo(outputs / out, **options)
    assert type(caught.value) is error
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert sorted(outputs.rglob("*")) == before


def random_bytes(path: Path) -> Path:
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    return path


def truncated(path: Path) -> Path:
    path.write_bytes(DEMO.model.read_bytes()[:-1000])
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def unknown_op(path: Path) -> Path:
    model = onnx.load(DEMO.model)
    model.graph.node[3].op_type = "NoSuchOp"
    onnx.save(model, str(path))
    return path


def nan_weight(path: Path) -> Path:
    model = onnx.load(DEMO.model)
    weight = model.graph.initializer[0]
    array = onnx.numpy_helper.to_array(weight).copy()
    array.reshape(-1)[0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "no such file"),
        (folder, "is a folder"),
        (empty, "holds no graph"),
        (random_bytes, "not an ONNX model"),
        (truncated, "not an ONNX model|damaged|invalid|truncated"),
        (unknown_op, "unknown op NoSuchOp"),
        (nan_weight, "holds NaN"),
    ],
)
@pytest.mark.parametrize("target", ["ort-int8:x86-vnni", "ort-fp32"])
def test_bad_models(tmp_path: Path, make: Make, message: str, target: str) -> None:
    source = make(tmp_path / "model.onnx")
    require_refused(tmp_path, ModelError, message, source=source, target=target)


def test_a_quantised_model(tmp_path: Path, demo: CompileResult) -> None:
    source = demo.artifact / "model.onnx"
    require_refused(tmp_path, ModelError, "is quantised already; compile it for", source=source)
    compile_demo(tmp_path / "float", source=source, target="ort-fp32", calib="", val="")


def test_a_model_with_nothing_to_quantise(tmp_path: Path) -> None:
    body = "g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }"
    source = write_text_model(tmp_path / "relu.onnx", body)
    message = "nothing to run in INT8"
    options: dict[str, Any] = {"source": source, "calib": "random:4", "val": ""}
    require_refused(tmp_path, QuantizationError, message, **options)


@pytest.mark.parametrize("size", [4, 5])
def test_sizes_that_the_model_cannot_have(tmp_path: Path, size: int) -> None:
    # In the branch that is never taken.
    body = """g (float[N,M] x, bool c) => (float[N,K] y)
    <float[5,2] left = {0,1,2,3,4,5,6,7,8,9}, float[4,2] right = {0,1,2,3,4,5,6,7}>
    { y = If (c) <
        then_branch = a () => (float[N,K] p) { p = MatMul(x, left) },
        else_branch = b () => (float[N,K] q) { q = MatMul(x, right) }
    > }"""
    source = write_text_model(tmp_path / "branches.onnx", body)
    shape = f"x:2x{size}"
    options: dict[str, Any] = {"source": source, "calib": "random:4", "val": ""}
    message = f"give other sizes than --shapes {shape}; with them"
    require_refused(tmp_path, UsageError, message, shapes=(shape,), **options)


def test_a_something_that_is_no_model(tmp_path: Path) -> None:
    require_refused(tmp_path, UsageError, "a dict is no model", source={})


def change(**arrays: Any) -> Make:
    def make(path: Path) -> str:
        np.savez(path, **arrays)
        return str(path)

    return make


def with_value(value: float) -> Array:
    array = images(8)
    array[3, 0, 5, 5] = value
    return array


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: str(path), "no such file"),
        (change(picture=images(8), other=images(8)), "image"),
        (change(image=images(8).astype(np.complex64)), "complex64"),
        (change(image=images(8)[:, :, :, :15]), "15"),
        (change(image=images(8)[0, 0]), "shape|axes|rank"),
        (change(image=images(0)), "no samples|empty"),
        (change(image=with_value(np.nan)), "NaN"),
    ],
    ids=["missing", "name", "dtype", "shape", "rank", "empty", "nan"],
)
@pytest.mark.parametrize("use", ["calib", "val"])
def test_bad_samples(tmp_path: Path, make: Make, message: str, use: str) -> None:
    data = make(tmp_path / "samples.npz")
    options: dict[str, Any] = {use: data, "calib_limit": 0, "val_limit": 0}
    require_refused(tmp_path, DataError, message, **options)


def test_damaged_samples(tmp_path: Path) -> None:
    for name, data in (("text.npz", b"not a zip"), ("odd.xyz", b"what is this")):
        (tmp_path / name).write_bytes(data)
        require_refused(tmp_path, DataError, name, calib=str(tmp_path / name))


def test_no_samples_at_all(tmp_path: Path) -> None:
    require_refused(tmp_path, UsageError, "needs calibration samples: --calib", calib="")


def test_the_same_samples_twice(tmp_path: Path) -> None:
    message = "calibration and validation use the same samples"
    require_refused(tmp_path, DataError, message, val=str(DEMO.calib))
    require_refused(tmp_path, DataError, message, val=str(DEMO.calib), val_limit=10)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "ort-int4"}, TargetError, "unknown target 'ort-int4'"),
        ({"target": "ort-int8:z80"}, TargetError, "unknown device 'z80'"),
        ({"pipeline": "fold-nothing"}, PassError, "unknown pass 'fold-nothing'"),
        ({"method": "median"}, UsageError, "unknown method 'median'"),
        ({"placement": "everything"}, UsageError, "placement 'everything'"),
        ({"placement": "narrow_input=x"}, UsageError, "placement 'narrow_input=x'"),
        ({"shapes": ("image:1,2",)}, UsageError, "write it as"),
        ({"shapes": ("nothing:1x1x16x16",)}, UsageError, "no input 'nothing'"),
        ({"shapes": ("image:1x3x16x16",)}, UsageError, "fixes an axis to 1, not 3"),
        ({"preprocess": ("blur=3",)}, UsageError, "blur"),
    ],
)
def test_bad_options(
    tmp_path: Path, options: dict[str, Any], error: type[BmoptError], message: str
) -> None:
    require_refused(tmp_path, error, message, **options)


def test_a_method_is_checked_before_the_work(tmp_path: Path, cache_folder: Path) -> None:
    require_refused(tmp_path, UsageError, "unknown method", method="median")
    require_refused(tmp_path, UsageError, "placement", placement="everything")
    assert not cache_folder.exists(), "a typo must not cost a calibration"


def test_an_output_that_cannot_be_made(tmp_path: Path, cache_folder: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    (outputs / "file").write_text("in the way")
    (outputs / "others").mkdir()
    (outputs / "others" / "thesis.tex").write_text("years of work")
    require_refused(tmp_path, OutputError, "is not a folder", out="file")
    require_refused(tmp_path, OutputError, "is no folder", out="file/deep/out")
    require_refused(tmp_path, OutputError, "holds other files", out="others")
    assert not cache_folder.exists(), "found out before the work is done"


def test_infinities_are_legitimate(tmp_path: Path) -> None:
    """As in an attention mask: what they reach stays in float."""
    body = f"""
        g (float[N,4] x, float[N,4] mask) => (float[N,4] y)
          <{weights("w", (4, 4))}, {weights("v", (4, 4))}>
        {{ a = MatMul(x, w) m = Add(a, mask) s = Softmax(m) y = MatMul(s, v) }}
    """
    source = write_text_model(tmp_path / "mask.onnx", body)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 4)).astype(np.float32)
    mask = np.where(rng.random((16, 4)) < 0.3, -np.inf, 0).astype(np.float32)
    mask[:, 0] = 0
    np.savez(tmp_path / "calib.npz", x=x, mask=mask)
    options: dict[str, Any] = {"calib": str(tmp_path / "calib.npz"), "val": "", "placement": "all"}
    report = compile_demo(tmp_path / "out", source=source, **options).report
    assert report["placement"]["integer"] == 2
    assert report["accuracy"]["sqnr_db"]["y"] > 25


def test_a_recipe_is_a_value() -> None:
    assert dataclasses.replace(QUICK) == QUICK
