"""What our placement marks, TensorRT-RTX runs in 8 bits: real engines, built without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bmopt.calibration.plan import make_plan
from bmopt.core.plan import QuantPlan
from bmopt.core.scheme import Scheme
from bmopt.graph.model_io import save_model
from bmopt.optimizer.passes.quantize import Quantize
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, inputs_scheme, named, table_of

pytest.importorskip("tensorrt_rtx")

_X = "float[1,32,8,8] x"
_CONV = "Conv<kernel_shape=[3,3], pads=[1,1,1,1]>"


def _w(name: str, *shape: int) -> str:
    return weights(name, shape)


GRAPHS = {
    "conv": f"g ({_X}) => (float y) <{_w('w', 32, 32, 3, 3)}, {_w('b', 32)}> "
    f"{{ r = Relu(x) c = {_CONV}(r, w, b) y = Relu(c) }}",
    "grouped": f"g ({_X}) => (float y) <{_w('w', 32, 16, 1, 1)}> {{ y = Conv<group=2>(x, w) }}",
    "depthwise": f"g ({_X}) => (float y) <{_w('w', 32, 1, 3, 3)}> "
    f"{{ y = {_CONV.replace('>', ', group=32>')}(x, w) }}",
    "gemm": f"g (float[16,32] x) => (float y) <{_w('w', 32, 32)}, {_w('b', 32)}> "
    "{ y = Gemm<transB=1>(x, w, b) }",
    "matmul": f"g (float[2,9,32] x) => (float y) <{_w('w', 32, 64)}> {{ y = MatMul(x, w) }}",
    "matmul_batched_weight": f"g (float[2,9,32] x) => (float y) <{_w('w', 2, 32, 16)}> "
    "{ y = MatMul(x, w) }",
    "residual": f"g ({_X}) => (float y) <{_w('u', 32, 32, 1, 1)}, {_w('v', 32, 32, 1, 1)}, "
    f"{_w('w', 32, 32, 1, 1)}> {{ a = Conv(x, u) r = Relu(a) c = Conv(r, v) s = Add(c, r)"
    " t = Relu(s) y = Conv(t, w) }",
    "concat": f"g ({_X}) => (float y) <{_w('u', 32, 32, 1, 1)}, {_w('v', 32, 32, 1, 1)}, "
    f"{_w('w', 32, 64, 1, 1)}> {{ a = Conv(x, u) r = Relu(a) c = Conv(r, v)"
    " k = Concat<axis=1>(r, c) m = MaxPool<kernel_shape=[2,2]>(k) y = Conv(m, w) }",
    "small_net": CONV_NET.replace("float[N,", "float[1,"),
}

FLOAT8 = ("conv", "grouped", "gemm", "matmul", "residual")

DECONVOLUTION = (
    f"g ({_X}) => (float y) <{_w('w', 32, 16, 2, 2)}> "
    "{ y = ConvTranspose<kernel_shape=[2,2], strides=[2,2]>(x, w) }"
)

Verdicts = dict[str, tuple[QuantPlan, dict[str, Any]]]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """Return plan and engine of every graph, by its name and precision."""
    folder = tmp_path_factory.mktemp("engines")
    plans: dict[str, QuantPlan] = {}

    def write(name: str, text: str, scheme: Scheme) -> None:
        model = named(text, scheme.min_opset)
        plan = make_plan(model, table_of(model), scheme)
        Quantize(plan)(model)
        save_model(model, folder / f"{name}.onnx")
        plans[name] = plan

    for name, text in GRAPHS.items():
        write(f"{name}-int8", text, inputs_scheme("int8"))
    for name in FLOAT8:
        write(f"{name}-fp8", GRAPHS[name], inputs_scheme("fp8"))
    write("deconvolution-int8", DECONVOLUTION, inputs_scheme("int8"))
    program = Path(__file__).with_name("rtx_verdicts.py")
    command = [sys.executable, str(program), str(folder), "SM89"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return {each["case"]: (plans[each["case"]], each) for each in found}


def _kernel_of(verdict: dict[str, Any], node: str) -> dict[str, Any]:
    """Return the kernel that multiplies for ``node``."""
    found = [k for k in verdict["kernels"] if node in k["nodes"] and k["kind"] != "kgen"]
    assert len(found) == 1
    return dict(found[0])


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "int8") for name in GRAPHS), *((name, "fp8") for name in FLOAT8)],
)
def test_every_product_that_is_marked_runs_in_8_bits(
    verdicts: Verdicts, name: str, precision: str
) -> None:
    plan, verdict = verdicts[f"{name}-{precision}"]
    assert verdict["errors"] == []
    assert plan.weights
    dtype = {"int8": "Int8", "fp8": "FP8"}[precision]
    for node in plan.weights:
        kernel = _kernel_of(verdict, node)
        assert (kernel["inputs"], kernel["constants"][0]) == ([dtype], dtype)


def test_a_skip_is_read_as_int8_and_stored_as_nothing_else(verdicts: Verdicts) -> None:
    _, verdict = verdicts["residual-int8"]
    added = next(k for k in verdict["kernels"] if "s" in k["nodes"])
    assert sorted(added["inputs"]) == ["Float", "Int8"]
    stored = next(k for k in verdict["kernels"] if "r" in k["nodes"])
    assert stored["outputs"] == ["Int8"]


def test_a_concat_and_what_moves_it_handle_int8(verdicts: Verdicts) -> None:
    _, verdict = verdicts["concat-int8"]
    pool = next(k for k in verdict["kernels"] if k["kind"] == "maxpool")
    assert (pool["inputs"], pool["outputs"]) == (["Int8"], ["Int8"])
    stored = next(k for k in verdict["kernels"] if "r" in k["nodes"])
    assert "Float" not in stored["outputs"]


def test_rtx_has_no_int8_deconvolution(verdicts: Verdicts) -> None:
    """The day this fails, RTX_SCHEMES may take ConvTranspose in."""
    plan, verdict = verdicts["deconvolution-int8"]
    assert plan.integer == ("y",)
    assert "Int8" not in _kernel_of(verdict, "y")["inputs"]
