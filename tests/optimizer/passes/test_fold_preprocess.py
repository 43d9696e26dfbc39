from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.core.dataset import InputSpec
from bmopt.data.pixels import convert
from bmopt.data.preprocess import Preprocess
from bmopt.graph.origin import origin_of
from bmopt.optimizer.passes.fold_preprocess import FoldPreprocess
from bmopt.optimizer.pipeline import Pipeline
from tests.rewriting import assert_keeps, assert_rewrites, parse, run_plain, structure

_BODY = "{ r = Relu(x) y = Add(x, r) }"
_FULL = FoldPreprocess(
    channels="BGR", scale=0.5, mean=(1.0, 2.0, 3.0), std=(4.0,), size=(4, 6), layout="NCHW"
)


def test_the_input_takes_pixels_and_the_graph_prepares_them() -> None:
    outcome = assert_rewrites(
        _FULL,
        before=f"g (float[N,3,4,6] x) => (float[N,3,4,6] y) {_BODY}",
        after="""g (uint8[N,4,6,3] x) => (float[N,3,4,6] y)
            <int64[3] o = {2,1,0}, float s = {0.5}, float[3] m = {1,2,3}, float d = {4}> {
            c = Cast<to = 1>(x)
            b = Gather<axis = 3>(c, o)
            p = Mul(b, s)
            q = Sub(p, m)
            n = Div(q, d)
            t = Transpose<perm = [0, 3, 1, 2]>(n)
            r = Relu(t)
            y = Add(t, r)
        }""",
        compare=False,
    )
    (value,) = outcome.model.graph.inputs
    assert (value.name, value.dtype, str(value.shape)) == ("x", ir.DataType.UINT8, "[N,4,6,3]")
    readers = [origin_of(node)[0] for node in outcome.model.graph][-2:]
    assert sorted(origin_of(outcome.model.graph[0])) == sorted(readers)


def test_channels_last_needs_no_transpose() -> None:
    assert_rewrites(
        FoldPreprocess(layout="NHWC", scale=2.0),
        before=f"g (float[N,4,6,3] x) => (float[N,4,6,3] y) {_BODY}",
        after="""g (uint8[N,4,6,3] x) => (float[N,4,6,3] y) <float s = {2}> {
            c = Cast<to = 1>(x) p = Mul(c, s) r = Relu(p) y = Add(p, r)
        }""",
        compare=False,
    )


@pytest.mark.parametrize(
    ("opset", "squeeze", "constants"),
    [(17, "Squeeze(c, a)", "<int64[1] a = {3}>"), (11, "Squeeze<axes = [3]>(c)", "")],
)
def test_an_input_without_a_channel_axis(opset: int, squeeze: str, constants: str) -> None:
    assert_rewrites(
        FoldPreprocess(),
        before=f"g (float[N,4,6] x) => (float[N,4,6] y) {_BODY}",
        after=f"""g (uint8[N,4,6,1] x) => (float[N,4,6] y) {constants} {{
            c = Cast<to = 1>(x) s = {squeeze} r = Relu(s) y = Add(s, r)
        }}""",
        opset=opset,
        compare=False,
    )


def test_half_precision_is_computed_in_float32() -> None:
    assert_rewrites(
        FoldPreprocess(std=(3.0,), layout="NHWC"),
        before=f"g (float16[N,4,6,3] x) => (float16[N,4,6,3] y) {_BODY}",
        after="""g (uint8[N,4,6,3] x) => (float16[N,4,6,3] y) <float s = {3}> {
            c = Cast<to = 1>(x) d = Div(c, s) h = Cast<to = 10>(d) r = Relu(h) y = Add(h, r)
        }""",
        compare=False,
    )


def test_quantize_linear_follows_the_new_nodes() -> None:
    constants = "<float s = {0.5}, uint8 z = {3}>"
    nodes = "q = QuantizeLinear({}, s, z) y = DequantizeLinear(q, s, z)"
    assert_rewrites(
        FoldPreprocess(),
        before=f"g (float[N,1,2,2] x) => (float[N,1,2,2] y) {constants} {{ {nodes.format('x')} }}",
        after=f"""g (uint8[N,2,2,1] x) => (float[N,1,2,2] y) {constants} {{
            c = Cast<to = 1>(x) t = Transpose<perm = [0, 3, 1, 2]>(c) {nodes.format("t")}
        }}""",
        compare=False,
    )


def test_sub_graphs_read_what_was_prepared() -> None:
    model = parse(
        """g (float[N,1,2,2] x) => (float[N,1,2,2] y) <bool yes = {1}> {
            y = If(yes) <
                then_branch = a () => (float[N,1,2,2] u) { u = Neg(x) },
                else_branch = b () => (float[N,1,2,2] v) { v = Abs(x) }>
        }"""
    )
    assert FoldPreprocess(scale=2.0)(model).modified
    pixels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    (answer,) = run_plain(model, {"x": pixels})
    assert np.array_equal(answer, -2.0 * pixels.transpose(0, 3, 1, 2).astype(np.float32))


def test_a_size_that_the_input_leaves_open() -> None:
    model = parse(f"g (float[N,3,H,W] x) => (float[N,3,H,W] y) {_BODY}")
    assert FoldPreprocess(size=(7, 5))(model).modified
    assert str(model.graph.inputs[0].shape) == "[N,7,5,3]"
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


@pytest.mark.parametrize(
    ("rewrite", "graph", "reason"),
    [
        (FoldPreprocess(), "(float[N,3,4,4] x, float[N] z) => (float[N,3,4,4] y)", "2 inputs"),
        (FoldPreprocess(), "(uint8[N,4,4,3] x) => (uint8[N,4,4,3] y)", "is UINT8, not floats"),
        (FoldPreprocess(), "(float[N,8] x) => (float[N,8] y)", "2 axes, no picture"),
        (FoldPreprocess(), "(float[N,4,4,3] x) => (float[N,4,4,3] y)", "4 channels, not 1 or 3"),
        (FoldPreprocess(), "(float[N,C,4,4] x) => (float[N,C,4,4] y)", "C channels, not 1 or 3"),
        (FoldPreprocess(channels="GRAY"), "(float[N,3,4,4] x) => (float[N,3,4,4] y)", "GRAY"),
        (FoldPreprocess(mean=(1.0, 2.0)), "(float[N,3,4,4] x) => (float[N,3,4,4] y)", "has 2"),
        (FoldPreprocess(std=(0.0,)), "(float[N,3,4,4] x) => (float[N,3,4,4] y)", "of 0"),
        (FoldPreprocess(size=(4, 5)), "(float[N,3,4,4] x) => (float[N,3,4,4] y)", "of 4x4"),
        (FoldPreprocess(size=(4,)), "(float[N,3,4,4] x) => (float[N,3,4,4] y)", "a width"),
    ],
)
def test_refuses(rewrite: FoldPreprocess, graph: str, reason: str) -> None:
    outcome = assert_keeps(rewrite, f"g {graph} {{ y = Identity(x) }}", compare=False)
    assert reason in outcome.refusals[0].reason


def test_its_text_round_trips() -> None:
    text = (
        "fold-preprocess{channels=BGR,scale=0.5,mean=[1.0,2.0,3.0],std=[4.0],size=[4,6],"
        "layout=NHWC}"
    )
    pipeline = Pipeline.parse(text)
    assert Pipeline.parse(str(pipeline)) == pipeline
    assert Pipeline.parse("fold-preprocess{std=[4.0]}").steps == (FoldPreprocess(std=(4.0,)),)


_NUMBERS = st.floats(-3, 3, width=32)
_STEPS = st.floats(0.001, 3)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["RGB", "BGR", "GRAY"]),
    st.sampled_from(["NCHW", "NHWC"]),
    st.sampled_from(["float32", "float16", "float64"]),
    st.one_of(st.none(), _STEPS),
    st.lists(_NUMBERS, min_size=3, max_size=3) | st.lists(_NUMBERS, max_size=1),
    st.lists(_STEPS, min_size=3, max_size=3) | st.lists(_STEPS, max_size=1),
    st.integers(0, 2**32 - 1),
)
def test_the_same_bits_as_outside(
    channels: str,
    layout: str,
    dtype: str,
    scale: float | None,
    mean: list[float],
    std: list[float],
    seed: int,
) -> None:
    count = 1 if channels == "GRAY" else 3
    mean, std = mean[:count], std[:count]
    shape = (2, count, 5, 4) if layout == "NCHW" else (2, 5, 4, count)
    text = {"float32": "float", "float16": "float16", "float64": "double"}[dtype]
    axes = ",".join(map(str, ("N", *shape[1:])))
    model = parse(f"g ({text}[{axes}] x) => ({text}[{axes}] y) {{ y = Identity(x) }}")
    options = Preprocess.from_mapping(
        {"channels": channels, "layout": layout, "dtype": dtype}, "test"
    )
    steps = {"scale": scale, "mean": tuple(mean) or None, "std": tuple(std) or None}
    options = options.merged(Preprocess(**steps))  # type: ignore[arg-type]
    rewrite = FoldPreprocess(
        layout=layout,  # type: ignore[arg-type]
        channels=channels,  # type: ignore[arg-type]
        scale=scale,
        mean=tuple(mean),
        std=tuple(std),
    )
    assert rewrite(model).modified, structure(model)
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 5, 4, count), np.uint8)
    wanted = convert(pixels, options, InputSpec("x", dtype, shape), "test")
    (answer,) = run_plain(model, {"x": pixels})
    assert answer.dtype == wanted.dtype
    assert answer.tobytes() == wanted.tobytes()
