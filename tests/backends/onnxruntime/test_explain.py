from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from bmopt.backends.onnxruntime.explain import explain
from bmopt.core.backend import Executed
from bmopt.core.plan import QuantPlan
from bmopt.errors import ModelError
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, as_bytes, named, quantized


def explained(model: ir.Model, plan: QuantPlan, folder: Path) -> dict[str, Executed]:
    path = folder / "q.onnx"
    path.write_bytes(as_bytes(model))
    found = explain(path, plan)
    assert [entry.node for entry in found] == list(plan.integer)
    return {entry.node: entry for entry in found}


def test_a_real_network_runs_in_integers(tmp_path: Path) -> None:
    found = explained(*quantized(named(CONV_NET)), tmp_path)
    assert {name: entry.kernel for name, entry in found.items()} == {
        "c1": "QLinearConv",
        "m1": "NhwcMaxPool",
        "c2": "QLinearConv",
        "c3": "QLinearConv",
        "a": "QLinearAdd",
        "p": "QLinearGlobalAveragePool",
        "f": "Flatten",
        "y": "QGemm",
    }
    assert all(entry.integer for entry in found.values())


@pytest.mark.parametrize(
    ("body", "kernel"),
    [
        ("y = MatMul(x, w)", "MatMulIntegerToFloat"),
        ("h = MatMul(x, w) y = MatMul(h, w)", "QLinearMatMul"),
        ("h = MatMul(x, w) y = Sigmoid(h)", "QLinearSigmoid"),
        ("h = MatMul(x, w) y = LeakyRelu(h)", "QLinearLeakyRelu"),
        ("h = MatMul(x, w) y = Concat<axis=1>(x, h)", "QLinearConcat"),
        ("h = MatMul(x, w) y = Mul(h, x)", "QLinearMul"),
    ],
)
def test_kernels_of_other_ops(tmp_path: Path, body: str, kernel: str) -> None:
    shape = "N,8" if "Concat" in body else "N,4"
    text = f"g (float[N,4] x) => (float[{shape}] y) <{weights('w', (4, 4))}> {{ {body} }}"
    found = explained(*quantized(named(text)), tmp_path)
    assert kernel in {entry.kernel for entry in found.values()}
    assert all(entry.integer for entry in found.values())


def test_a_node_whose_output_pair_is_missing_runs_in_float(tmp_path: Path) -> None:
    model, plan = quantized(named(CONV_NET))
    for value in list(model.graph.node("c2").outputs):
        quantize = next(iter(value.consumers()))
        dequantize = next(iter(quantize.outputs[0].consumers()))
        dequantize.outputs[0].replace_all_uses_with(value)
        model.graph.remove([dequantize, quantize], safe=True)
    found = explained(model, plan, tmp_path)
    assert not found["c2"].integer
    assert found["c2"].kernel in ("Conv", "FusedConv")
    assert found["c1"].integer


def test_a_mover_that_is_optimised_away_is_no_loss(tmp_path: Path) -> None:
    text = f"""
        g (float[N,8,6,6] x) => (float[N,6,6,8] y) <{weights("w", (8, 8, 1, 1))}>
        {{ c = Conv(x, w) y = Transpose<perm=[0,2,3,1]>(c) }}
    """
    found = explained(*quantized(named(text)), tmp_path)
    assert found["y"] == Executed("y", "fused", integer=True)


def test_a_file_that_does_not_open_is_refused(tmp_path: Path) -> None:
    model, plan = quantized(named(CONV_NET))
    model.graph.node("c2").op_type = "NoSuchOp"
    with pytest.raises(ModelError, match="ONNX Runtime refuses it"):
        explained(model, plan, tmp_path)
