from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmopt.core.runner import Array
from bmopt.graph.facts import model_facts
from bmopt.graph.model_io import load_model
from tests.graph.model_files import proto_of, write


def _ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def _bytes(*shape: int) -> Array:
    return np.ones(shape, np.uint8)


_CASES: dict[str, tuple[str, dict[str, Array], int]] = {
    "Conv": (
        "g (float[1,4,8,8] x) => (float[1,6,8,8] y) { y = Conv<pads = [1,1,1,1]>(x, w) }",
        {"w": _ones(6, 4, 3, 3)},
        64 * 6 * 4 * 9,
    ),
    "depthwise Conv": (
        "g (float[2,4,8,8] x) => (float[2,4,6,6] y) { y = Conv<group = 4>(x, w) }",
        {"w": _ones(4, 1, 3, 3)},
        2 * 36 * 4 * 9,
    ),
    "ConvTranspose": (
        "g (float[1,4,8,8] x) => (float[1,3,A,B] y) { y = ConvTranspose<strides = [2,2]>(x, w) }",
        {"w": _ones(4, 3, 3, 3)},
        4 * 64 * 3 * 9,
    ),
    "Gemm": (
        "g (float[5,7] x) => (float[7,3] y) { y = Gemm<transA = 1, transB = 1>(x, w) }",
        {"w": _ones(3, 5)},
        7 * 5 * 3,
    ),
    "batched MatMul": (
        "g (float[2,3,5,7] x, float[3,7,4] w) => (float[2,3,5,4] y) { y = MatMul(x, w) }",
        {},
        2 * 3 * 5 * 4 * 7,
    ),
    "vectors": ("g (float[7] x, float[7] w) => (float y) { y = MatMul(x, w) }", {}, 7),
    "LSTM": (
        """g (float[6,2,5] x) => (float[2,2,3] h) {
            , h = LSTM<hidden_size = 3, direction = "bidirectional">(x, w, r) }""",
        {"w": _ones(2, 12, 5), "r": _ones(2, 12, 3)},
        6 * 2 * (2 * 12 * 5 + 2 * 12 * 3),
    ),
    "QLinearConv": (
        "g (uint8[1,2,4,4] x) => (uint8[1,3,4,4] y) { y = QLinearConv(x, s, z, w, s, z, s, z) }",
        {"w": _bytes(3, 2, 1, 1), "s": np.array(1, np.float32), "z": np.array(0, np.uint8)},
        16 * 3 * 2,
    ),
    "element-wise": ("g (float[9] x) => (float[9] y) { y = Mul(x, x) }", {}, 0),
}


@pytest.mark.parametrize("case", _CASES)
def test_counts(tmp_path: Path, case: str) -> None:
    text, weights, macs = _CASES[case]
    facts = model_facts(load_model(write(tmp_path / "m.onnx", proto_of(text, weights))))
    assert facts.macs_unknown == ()
    assert facts.macs == macs


def test_attention_counts_both_products(tmp_path: Path) -> None:
    text = """g (float[2,4,10,8] q, float[2,4,12,8] k, float[2,4,12,6] v) => (float[2,4,10,6] y)
        { y = Attention(q, k, v) }"""
    facts = model_facts(load_model(write(tmp_path / "m.onnx", proto_of(text, opset=23, ir=10))))
    assert facts.macs == 2 * 4 * 10 * 12 * (8 + 6)


def test_einsum_is_said_to_be_unknown(tmp_path: Path) -> None:
    text = 'g (float[2,3] x) => (float[2,2] y) { y = Einsum<equation = "ij,kj->ik">(x, x) }'
    facts = model_facts(load_model(write(tmp_path / "m.onnx", proto_of(text))))
    assert facts.macs_unknown == (facts.nodes[0].name,)


def test_an_if_counts_its_dearer_branch(tmp_path: Path) -> None:
    text = """g (bool c, float[2,5] x) => (float[2,N] y) {
        y = If(c) <then_branch = t () => (float[2,N] p) { p = MatMul(x, w) },
                   else_branch = e () => (float[2,N] q) { q = MatMul(x, v) }> }"""
    proto = proto_of(text, {"w": _ones(5, 3), "v": _ones(5, 4)})
    facts = model_facts(load_model(write(tmp_path / "m.onnx", proto)))
    assert facts.macs == 2 * 5 * 4
    assert [node.inside for node in facts.nodes] == ["", "If", "If"]


@pytest.mark.parametrize(("trips", "known"), [("n", True), ("m", False)])
def test_a_loop_counts_its_iterations(tmp_path: Path, trips: str, known: bool) -> None:
    text = f"""g (float[2,2] x, int64 m, bool c) => (float[2,2] y) {{
        y = Loop({trips}, c, x) <body = b (int64 i, bool go, float[2,2] s) =>
            (bool again, float[2,2] t) {{ again = Identity(go) t = MatMul(s, w) }}> }}"""
    proto = proto_of(text, {"w": _ones(2, 2), "n": np.array(7, np.int64)})
    facts = model_facts(load_model(write(tmp_path / "m.onnx", proto)))
    assert facts.macs == 8 * (7 if known else 1)
    assert facts.macs_unknown == (() if known else ("Loop",))
