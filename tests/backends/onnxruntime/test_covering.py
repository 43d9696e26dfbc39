from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from bmopt.backends.onnxruntime.covering import covered_nodes
from bmopt.backends.onnxruntime.session import SessionConfig, open_model
from bmopt.graph.model_io import load_model
from bmopt.graph.nesting import nodes_in
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, named, quantized
from tests.shared_data import needs_shared, shared_dir

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU")


def optimised(model: ir.Model, folder: Path) -> ir.Graph:
    """Return the graph that ONNX Runtime makes of ``model``."""
    dump = folder / "optimised.onnx"
    with open_model(model, SessionConfig(threads=1, dump=dump)):
        pass
    return ir.from_proto(onnx.load(str(dump), load_external_data=False)).graph


def covered(model: ir.Model, folder: Path) -> dict[str, set[str]]:
    """Return op of the optimised graph and its first node's name -> nodes."""
    graph = optimised(model, folder)
    found = covered_nodes(model.graph, graph)
    return {f"{node.op_type} {node.name}": set(found[str(node.name)]) for node in nodes_in(graph)}


def test_a_float_network(tmp_path: Path) -> None:
    found = covered(named(CONV_NET), tmp_path)
    products = [names for names in found.values() if names & {"c1", "c2", "c3"}]
    assert {"c1", "r1"} in products
    assert {"c2"} in products
    # ONNX Runtime adds the sum into the convolution and clips it there, where its layout allows.
    assert {"c3", "a", "r2"} in products or {"a", "r2"} in found.values()
    assert set().union(*found.values()) == {n.name for n in named(CONV_NET).graph}


def test_an_integer_network(tmp_path: Path) -> None:
    model, _ = quantized(named(CONV_NET))
    found = covered(model, tmp_path)
    kinds = {node.name: node.op_type for node in model.graph}

    def computing(names: set[str]) -> set[str]:
        return {name for name in names if not kinds[name].endswith("Linear")}

    kernels = {
        op.split()[0]: computing(names) for op, names in found.items() if op.startswith("Q")
    }
    assert kernels["QLinearAdd"] <= {"a", "r2"}
    assert kernels["QGemm"] == {"y"}
    convolutions = [computing(n) for op, n in found.items() if op.startswith("QLinearConv")]
    assert sorted(min(names) for names in convolutions) == ["c1", "c2", "c3"]
    for op, names in found.items():
        if op.startswith("QLinearConv"):
            # The pair of the output and those of input and weight are part of the kernel.
            assert {kinds[name] for name in names} >= {
                "Conv",
                "QuantizeLinear",
                "DequantizeLinear",
            }


@pytest.mark.parametrize(
    ("body", "shape", "groups"),
    [
        ("h = MatMul(x, w) y = Add(h, b)", "4", [{"h", "y"}]),
        ("h = MatMul(x, w) a = Add(h, b) y = Relu(a)", "4", [{"h", "a", "y"}]),
        ("i = Identity(x) h = MatMul(i, w) y = Softmax(h)", "4", [{"i", "h"}, {"y"}]),
        ("t = Transpose<perm=[1,0]>(x) y = MatMul(t, x)", "4", [{"t", "y"}]),
        ("h = Sigmoid(x) y = Mul(x, h)", "4", [{"h", "y"}]),
    ],
)
def test_fusions(tmp_path: Path, body: str, shape: str, groups: list[set[str]]) -> None:
    text = (
        f"g (float[4,4] x) => (float[4,{shape}] y) "
        f"<{weights('w', (4, 4))}, {weights('b', (4,))}> {{ {body} }}"
    )
    found = list(covered(named(text), tmp_path).values())
    for group in groups:
        assert group in found


def test_the_bodies_of_control_flow(tmp_path: Path) -> None:
    text = f"""g (float[2,4] x, int64 n, bool c) => (float[2,4] y) <{weights("w", (4, 4))}> {{
        y = Loop(n, c, x) <body = b (int64 i, bool go, float[2,4] s) =>
            (bool on, float[2,4] t) {{ on = Identity(go) h = MatMul(s, w) t = Relu(h) }}> }}"""
    found = covered(named(text), tmp_path)
    assert {"y"} in found.values()
    assert any("h" in names for names in found.values())


@pytest.mark.zoo
@needs_shared
def test_every_product_of_the_shared_models_is_covered_once(tmp_path: Path) -> None:
    root = shared_dir()
    assert root is not None
    for path in sorted((root / "models").glob("*.onnx")):
        model = load_model(path)
        kinds = {str(node.name): node.op_type for node in nodes_in(model.graph)}
        graph = optimised(model, tmp_path)
        by_kernel = covered_nodes(model.graph, graph)
        inserted = {n.name for n in nodes_in(graph) if "Reorder" in n.op_type}
        assert all(by_kernel.values()), path
        covering = [n for k, names in by_kernel.items() if k not in inserted for n in names]
        for name, kind in kinds.items():
            if kind in PRODUCTS:
                assert covering.count(name) == 1, (path, name)
