from __future__ import annotations

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.graph.concrete_values import concrete_values
from bmopt.graph.work import Work, work_of
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, named, quantized


def work(model: ir.Model, *names: str) -> Work:
    return work_of([model.graph.node(name) for name in names], concrete_values(model))


def test_a_convolution_and_what_follows_it() -> None:
    model = named(CONV_NET)
    # 10 x 10 positions, 16 channels, 3 x 3 x 8 products each; float32 has 4 bytes.
    alone, fused = work(model, "c1"), work(model, "c1", "r1")
    assert alone.macs == fused.macs == 100 * 16 * 72
    assert alone.read_bytes == fused.read_bytes == 4 * (800 + 16 * 72 + 16)
    assert alone.written_bytes == fused.written_bytes == 4 * 1600
    assert fused.bytes == 4 * (800 + 16 * 72 + 16 + 1600)


def test_what_the_group_reads_twice_counts_once() -> None:
    model = named(CONV_NET)
    both = work(model, "c3", "a")
    assert both.read_bytes == 4 * (16 * 25 + 16 * 9)
    assert both.macs == 25 * 16 * 9


def test_an_integer_kernel_moves_bytes() -> None:
    model, _ = quantized(named(CONV_NET))
    core = model.graph.node("c2")
    pairs = [value.producer() for value in core.inputs if value is not None]
    dequantizers = [node for node in pairs if node is not None]
    quantizer = next(iter(core.outputs[0].consumers()))
    found = work_of([*dequantizers, core, quantizer], concrete_values(model))
    assert found.macs == 25 * 16 * 16
    # Bytes of data, weight and result, int32 biases; scales and zero points are a few more.
    assert found.written_bytes == 25 * 16
    assert found.read_bytes is not None
    assert 25 * 16 + 256 + 64 < found.read_bytes < 25 * 16 + 256 + 64 + 300


def test_integers_that_others_dequantise_too_are_not_written_as_floats() -> None:
    model, _ = quantized(named(CONV_NET))
    shared = next(v for v in model.graph.node("c3").inputs if v is not None and v.producer())
    reader = shared.producer()
    assert reader is not None
    assert {node.name for node in shared.consumers()} >= {"a", "c3"}
    group = [reader, model.graph.node("c3")]
    alone = work_of(group[1:], concrete_values(model))
    assert work_of(group, concrete_values(model)).written_bytes == alone.written_bytes


@pytest.mark.parametrize(
    ("body", "read", "written"),
    [
        ("y = Gather<axis=0>(x, i)", 2 * 8 * 4 + 2 * 8, 2 * 8 * 4),
        ("y = Reshape(x, s)", 0, 0),
        ("r = Reshape(x, s) y = Relu(r)", 1000 * 8 * 4 + 16, 1000 * 8 * 4),
        ("y = Identity(x)", 0, 0),
        ("y = Relu(x)", 1000 * 8 * 4, 1000 * 8 * 4),
    ],
)
def test_what_moves_little(body: str, read: int, written: int) -> None:
    text = f"""g (float[1000,8] x) => (float[N,M] y)
        <int64[2] i = {{3, 4}}, int64[2] s = {{8, 1000}}> {{ {body} }}"""
    model = named(text)
    names = [str(node.name) for node in model.graph]
    assert work(model, *names) == Work(0, read, written)


def test_a_shape_that_is_not_known_is_said_so() -> None:
    text = f"""g (float[3,4] x) => (float[N,5] y) <{weights("w", (4, 5))}>
        {{ n = NonZero(x) t = Transpose(n) c = Cast<to=1>(t) p = Pad(c, s) y = MatMul(p, w) }}"""
    model = named(text.replace("<", "<int64[4] s = {0, 0, 0, 2}, ", 1))
    found = work(model, "y")
    assert found == Work(None, None, None)
    assert found.bytes is None


@given(
    st.sets(st.sampled_from(["c1", "r1", "m1", "c2", "c3", "a", "r2", "p", "f", "y"]), min_size=1)
)
def test_a_group_has_its_parts_macs_and_no_more_bytes(names: set[str]) -> None:
    model = named(CONV_NET)
    known = concrete_values(model)
    nodes = [model.graph.node(name) for name in sorted(names)]
    parts = [work_of([node], known) for node in nodes]
    whole = work_of(nodes, known)
    assert whole.macs == sum(part.macs or 0 for part in parts)
    if "f" not in names:
        assert (whole.bytes or 0) <= sum(part.bytes or 0 for part in parts)
