from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.errors import ModelError, PassError
from bmopt.graph.origin import origin_of
from bmopt.optimizer import early_onnxsim
from bmopt.optimizer.onnxsim_child import OnnxsimRun
from bmopt.optimizer.simplify import VerifyOptions, optimize_file
from tests.engine import PlainRunner

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y)
<float[4, 3, 1, 1] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[4] s = {1,2,3,4},
 float[4] b = {0,1,2,3}, float[4] m = {0,0,1,1}, float[4] v = {1,2,3,4}> {
    i = Identity(x)
    c = Conv(i, w)
    n = BatchNormalization(c, s, b, m, v)
    y = Relu(n)
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return _write(tmp_path / "model.onnx", onnx.parser.parse_model(TEXT))


def _write(path: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, str(path))
    return path


def _verify() -> VerifyOptions:
    return VerifyOptions(PlainRunner)


def test_simplifies_and_verifies_a_file(path: Path) -> None:
    result = optimize_file(path, verify=_verify())
    assert [node.op_type for node in result.model.graph] == ["Conv", "Relu"]
    assert len(list(result.source.graph)) == 4
    assert result.log.verification.verdict == "equivalent"
    assert result.log.records[0].name == "onnxsim"
    assert result.frozen == ()
    assert all(origin_of(node) for node in result.model.graph)


def test_onnxsim_starts_before_the_model_is_loaded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    def start(source: Path) -> OnnxsimRun:
        started.append(source)
        return OnnxsimRun(source)

    monkeypatch.setattr(early_onnxsim, "start_onnxsim", start)
    optimize_file(path)
    assert started == [path]
    optimize_file(path, "drop-dead")
    optimize_file(path, prepare=lambda model: None)
    assert started == [path]


def test_prepare_changes_the_model_first(path: Path) -> None:
    def fix(model: ir.Model) -> None:
        model.graph.inputs[0].shape = ir.Shape([1, 3, 8, 8])

    result = optimize_file(path, prepare=fix, verify=_verify())
    assert list(result.model.graph.inputs[0].shape or ()) == [1, 3, 8, 8]
    assert len(list(result.model.graph)) == 2


def test_defaults_are_frozen_unless_they_are_to_be_kept(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(TEXT)
    for tensor in model.graph.initializer:
        declared = onnx.ValueInfoProto(name=tensor.name)
        declared.type.tensor_type.elem_type = tensor.data_type
        for size in tensor.dims:
            declared.type.tensor_type.shape.dim.add(dim_value=size)
        model.graph.input.append(declared)
    path = _write(tmp_path / "model.onnx", model)
    frozen = optimize_file(path, verify=_verify())
    assert frozen.frozen == ("w", "s", "b", "m", "v")
    assert [value.name for value in frozen.model.graph.inputs] == ["x"]
    assert len(list(frozen.model.graph)) == 2
    kept = optimize_file(path, keep_defaults=True, verify=_verify())
    assert [value.name for value in kept.model.graph.inputs] == ["x", "w", "s", "b", "m", "v"]
    assert "BatchNormalization" in {node.op_type for node in kept.model.graph}


def test_sizes_below_zero_do_not_reach_onnxsim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.parser.parse_model(TEXT)
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_value = -1
    started: list[Path] = []

    def start(source: Path) -> OnnxsimRun:
        started.append(source)
        return OnnxsimRun(source)

    monkeypatch.setattr(early_onnxsim, "start_onnxsim", start)
    path = _write(tmp_path / "model.onnx", model)
    result = optimize_file(path, verify=_verify())
    assert len(started) == 1
    assert started[0] != path
    assert not started[0].exists()
    sizes = [d for node in result.model.graph for d in node.outputs[0].shape or ()]
    assert all(size > 0 for size in sizes if isinstance(size, int))
    assert result.log.rollbacks == ()


def test_samples_and_axes_reach_the_check(path: Path) -> None:
    sample = {"x": np.ones((1, 3, 8, 8), np.float32)}
    verify = VerifyOptions(PlainRunner, samples=(sample,), axes={"N": 5})
    log = optimize_file(path, verify=verify).log
    assert log.verification.reason == "compared on 3 feeds"


def test_bad_files_and_pipelines_are_refused(tmp_path: Path, path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x07nothing")
    for bad in (broken, tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(ModelError):
            optimize_file(bad)
    with pytest.raises(PassError):
        optimize_file(path, "simplify,no-such-pass")


def test_importing_the_module_is_cheap() -> None:
    code = "import sys, bmopt.optimizer.simplify; print('onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
