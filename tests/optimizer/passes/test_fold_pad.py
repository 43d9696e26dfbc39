from __future__ import annotations

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.optimizer.passes.fold_pad import FoldPad
from tests.optimizer.literals import weights
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse

_W = weights("w", (3, 2, 3, 3))
_P = "int64[8] p = {0,0,1,2,0,0,3,0}"
_PADDED = "g (float[1,2,5,4] x) => (float[1,3,A,B] y)"


def _ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph.all_nodes()]


def test_adds_to_the_convs_own_pads() -> None:
    assert_rewrites(
        FoldPad(),
        before=f"{_PADDED} <{_W}, {_P}> {{ c = Pad(x, p)  y = Conv<pads=[1,0,0,1]>(c, w) }}",
        after=f"{_PADDED} <{_W}> {{ y = Conv<pads=[2,2,3,1]>(x, w) }}",
    )


@pytest.mark.parametrize("opset", [7, 10])
def test_reads_attributes_before_opset_11(opset: int) -> None:
    assert_rewrites(
        FoldPad(),
        before=f"{_PADDED} <{_W}> {{ c = Pad<pads=[0,0,1,2,0,0,3,0]>(x)  y = Conv(c, w) }}",
        after=f"{_PADDED} <{_W}> {{ y = Conv<pads=[1,2,3,0]>(x, w) }}",
        opset=opset,
    )


def test_reads_axes_from_opset_18() -> None:
    assert_rewrites(
        FoldPad(),
        before=f"""{_PADDED} <{_W}, int64[2] p = {{1,2}}, int64[1] a = {{-1}}>
        {{ c = Pad(x, p, , a)  y = Conv(c, w) }}""",
        after=f"{_PADDED} <{_W}> {{ y = Conv<pads=[0,1,0,2]>(x, w) }}",
        opset=18,
    )


def test_folds_into_every_conv() -> None:
    text = f"""g (float[1,2,5,4] x) => (float[1,3,A,B] y, float[1,3,A,B] z) <{_W}, {_P}>
    {{ c = Pad(x, p)  y = Conv(c, w)  z = Conv<strides=[2,1]>(c, w) }}"""
    model = parse(text)
    check_pass(FoldPad(), model)
    assert _ops(model) == ["Conv", "Conv"]


def test_pad_stays_for_its_other_readers() -> None:
    text = f"""g (float[1,2,5,4] x) => (float[1,3,A,B] y, float[1,2,C,D] z) <{_W}, {_P}>
    {{ c = Pad(x, p)  y = Conv(c, w)  z = Relu(c) }}"""
    model = parse(text)
    check_pass(FoldPad(), model)
    assert _ops(model) == ["Pad", "Conv", "Relu"]
    assert model.graph[1].inputs[0] is model.graph.inputs[0]


@settings(max_examples=25, deadline=None)
@given(
    mode=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_makes_auto_pad_explicit(
    mode: str, pads: tuple[int, ...], strides: tuple[int, ...], kernel: tuple[int, ...]
) -> None:
    top, left, bottom, right = pads
    height, width = 7 + top + bottom, 6 + left + right
    model = parse(f"""g (float[1,2,7,6] x) => (float[1,1,A,B] y)
    <{weights("w", (1, 2, *kernel))}, int64[8] p = {{0,0,{top},{left},0,0,{bottom},{right}}},
     float[1,2,{height},{width}] c>
    {{ c = Pad(x, p)  y = Conv<auto_pad="{mode}", strides={list(strides)}>(c, w) }}""")
    check_pass(FoldPad(), model)
    assert _ops(model) == ["Conv"]


@pytest.mark.parametrize("own", ["", ", pads=[1,0,1,0], count_include_pad=1"])
def test_average_pool_counts_the_padding(own: str) -> None:
    text = f"""g (float[1,2,5,4] x) => (float[1,2,A,B] y) <int64[8] p = {{0,0,1,2,0,0,0,1}}>
    {{ c = Pad(x, p)  y = AveragePool<kernel_shape=[3,3]{own}>(c) }}"""
    model = parse(text)
    check_pass(FoldPad(), model)
    assert _ops(model) == ["AveragePool"]


_POOL = "g (float[1,2,5,4] x) => (float[1,2,A,B] y)"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f'{_PADDED} <{_W}, {_P}> {{ c = Pad<mode="edge">(x, p) y = Conv(c, w) }}', "a constant"),
        (
            f"{_PADDED} <{_W}, {_P}, float v = {{1}}> {{ c = Pad(x, p, v) y = Conv(c, w) }}",
            "with zero",
        ),
        (
            (
                f"{_PADDED} <{_W}, int64[8] p = {{0,0,-1,0,0,0,0,0}}>"
                " { c = Pad(x, p) y = Conv(c, w) }"
            ),
            "crops",
        ),
        (
            (
                "g (float[1,1,5,4] x) => (float[1,3,3,2] y)"
                f" <{_W}, int64[8] p = {{0,1,0,0,0,0,0,0}}>"
                " { c = Pad(x, p) y = Conv(c, w) }"
            ),
            "channel axis",
        ),
        (
            f'{_PADDED} <{_W}, {_P}> {{ c = Pad(x, p) y = Conv<auto_pad="SAME_UPPER">(c, w) }}',
            "size is unknown",
        ),
        (f"{_POOL} <{_P}> {{ c = Pad(x, p) y = MaxPool<kernel_shape=[4,4]>(c) }}", "MaxPool"),
        (
            (
                f"g (float[1,3,5,4] x) => (float[1,2,A,B] y) <{_W}, {_P}>"
                " { c = Pad(x, p) y = ConvTranspose(c, w) }"
            ),
            "ConvTranspose",
        ),
        (
            (
                f"{_POOL} <{_P}>"
                " { c = Pad(x, p) y = AveragePool<kernel_shape=[4,4], ceil_mode=1>(c) }"
            ),
            "rounds its output size up",
        ),
        (
            (
                f"{_POOL} <{_P}>"
                " { c = Pad(x, p) y = AveragePool<kernel_shape=[4,4], pads=[1,1,1,1]>(c) }"
            ),
            "does not count its own",
        ),
        (
            f"{_POOL} <{_P}> {{ c = Pad(x, p) y = AveragePool<kernel_shape=[3,3]>(c) }}",
            "by its kernel's size",
        ),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    refusals = assert_keeps(FoldPad(), text).refusals
    assert len(refusals) == 1
    assert reason in refusals[0].reason


def test_refuses_computed_amounts() -> None:
    text = f"""g (float[1,2,5,4] x, int64[8] p) => (float[1,3,A,B] y) <{_W}>
    {{ c = Pad(x, p) y = Conv(c, w) }}"""
    assert "computed" in assert_keeps(FoldPad(), text, compare=False).refusals[0].reason


def test_refuses_axes_of_unknown_rank() -> None:
    text = f"""{_PADDED} <{_W}, int64[2] p = {{1,1}}, int64[1] a = {{-1}}>
    {{ r = Relu(x) c = Pad(r, p, , a) y = Conv(c, w) }}"""
    assert "rank are unknown" in assert_keeps(FoldPad(), text, opset=18).refusals[0].reason


def test_refuses_a_pad_outside_the_branch() -> None:
    text = f"""g (bool q, float[1,2,5,4] x) => (float[1,3,A,B] y) <{_W}, {_P}>
    {{ c = Pad(x, p)
      y = If(q) <then_branch = t () => (float[1,3,A,B] a) {{ a = Conv(c, w) }},
                 else_branch = e () => (float[1,3,A,B] b) {{ d = Conv(c, w)  b = Relu(d) }}> }}"""
    refusals = assert_keeps(FoldPad(), text).refusals
    assert {refusal.reason for refusal in refusals} == {"reads a Pad of an outer graph"}
