from __future__ import annotations

import math

import onnx_ir as ir
import pytest

from bmopt.graph.products import clip_after, clip_bounds, multiply_adds, product_of, rank_of
from tests.optimizer.literals import weights
from tests.rewriting import parse


def only_node(text: str, opset: int = 17) -> ir.Node:
    return parse(text, opset).graph[-1]


@pytest.mark.parametrize(
    ("op", "shape", "axis", "channels"),
    [
        ("Conv", (6, 3, 2, 2), 0, 6),
        ("ConvTranspose", (3, 6, 2, 2), 1, 6),
        ("Gemm", (4, 5), 1, 5),
        ("Gemm<transB=1>", (5, 4), 0, 5),
        ("MatMul", (4, 5), 1, 5),
        ("MatMul", (2, 4, 5), 2, 5),
    ],
)
def test_channels_lie_along_an_axis(
    op: str, shape: tuple[int, ...], axis: int, channels: int
) -> None:
    product = product_of(
        only_node(
            f"g (float[2,3,8,8] x) => (float y) <{weights('w', shape)}> {{ y = {op}(x, w) }}"
        )
    )
    assert product is not None
    assert (product.shape, product.axis) == (shape, axis)
    assert product.channels == channels
    assert product.bias is None
    assert product.weight().shape == shape


@pytest.mark.parametrize(
    ("attributes", "shape", "groups", "depthwise"),
    [
        ("", (6, 3, 1, 1), 1, False),
        ("<group=3>", (6, 2, 1, 1), 3, False),
        ("<group=3>", (6, 1, 1, 1), 3, True),
        ("", (6, 1, 1, 1), 1, False),
    ],
)
def test_depthwise_is_one_channel_per_group(
    attributes: str, shape: tuple[int, ...], groups: int, depthwise: bool
) -> None:
    text = f"g (float[2,3,8,8] x) => (float y) <{weights('w', shape)}>"
    product = product_of(only_node(f"{text} {{ y = Conv{attributes}(x, w) }}"))
    assert product is not None
    assert (product.groups, product.is_depthwise) == (groups, depthwise)


def test_a_bias_is_found_where_there_is_one() -> None:
    text = f"g (float[2,4] x) => (float y) <{weights('w', (4, 5))}, {weights('b', (5,))}>"
    product = product_of(only_node(f"{text} {{ y = Gemm(x, w, b) }}"))
    assert product is not None
    assert product.bias == 2


@pytest.mark.parametrize(
    "body", ["y = MatMul(x, x)", "y = MatMul(w, x)", "y = Add(x, w)", "y = MatMul(x, fed)"]
)
def test_other_nodes_are_no_products(body: str) -> None:
    text = f"g (float[4,4] x, float[4,4] fed) => (float y) <{weights('w', (4, 4))}>"
    assert product_of(only_node(f"{text} {{ {body} }}")) is None


@pytest.mark.parametrize(
    ("body", "output", "work"),
    [
        ("y = Conv<pads=[1,1,1,1]>(x, w)", "N,6,10,10", 6 * 8 * 9 * 100),
        ("y = Conv<strides=[2,2]>(x, w)", "N,6,4,4", 6 * 8 * 9 * 16),
        ("y = Conv<pads=[1,1,1,1], group=2>(x, half)", "N,6,10,10", 6 * 4 * 9 * 100),
    ],
)
def test_multiply_adds_of_a_convolution(body: str, output: str, work: int) -> None:
    inits = f"{weights('w', (6, 8, 3, 3))}, {weights('half', (6, 4, 3, 3))}"
    model = parse(f"g (float[N,8,10,10] x) => (float[{output}] y) <{inits}> {{ {body} }}")
    product = product_of(model.graph[0])
    assert product is not None
    assert multiply_adds(product) == work


@pytest.mark.parametrize(
    ("inputs", "output", "work"),
    [("N,4", "N,5", 20), ("N,7,4", "N,7,5", 140), ("N,T,4", "N,T,5", None)],
)
def test_multiply_adds_of_a_matrix_product(inputs: str, output: str, work: int | None) -> None:
    text = f"g (float[{inputs}] x) => (float[{output}] y) <{weights('w', (4, 5))}>"
    product = product_of(only_node(f"{text} {{ y = MatMul(x, w) }}"))
    assert product is not None
    assert multiply_adds(product) == work


def test_multiply_adds_without_shapes_are_not_known() -> None:
    text = f"g (float[N,4,H,H] x) => (float[N,4,H,H] y) <{weights('w', (4, 4, 1, 1))}>"
    product = product_of(only_node(f"{text} {{ y = Conv(x, w) }}"))
    assert product is not None
    assert multiply_adds(product) is None


@pytest.mark.parametrize(
    ("body", "opset", "bounds"),
    [
        ("y = Relu(x)", 17, (0.0, math.inf)),
        ("y = Clip(x, low, high)", 17, (-1.0, 6.0)),
        ("y = Clip(x, low)", 17, (-1.0, math.inf)),
        ("y = Clip(x, , high)", 17, (-math.inf, 6.0)),
        ("y = Clip(x)", 17, (-math.inf, math.inf)),
        ("y = Clip(x, row)", 17, (0.5, math.inf)),
        ("y = Clip(x, fed)", 17, None),
        ("y = Clip<min=0.0, max=6.0>(x)", 10, (0.0, 6.0)),
        ("y = Clip<max=6.0>(x)", 10, (-math.inf, 6.0)),
        ("y = Sigmoid(x)", 17, None),
    ],
)
def test_the_bounds_of_a_clip(body: str, opset: int, bounds: tuple[float, float] | None) -> None:
    inits = "float low = {-1}, float high = {6}, float[1] row = {0.5}"
    node = only_node(f"g (float[N] x, float fed) => (float[N] y) <{inits}> {{ {body} }}", opset)
    assert clip_bounds(node) == bounds


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("c = Neg(x) y = Relu(c)", "y"),
        ("c = Neg(x) r = Relu(c) y = Neg(r)", "r"),
        ("c = Neg(x) r = Sigmoid(c) y = Relu(r)", None),
        ("c = Neg(x) r = Relu(c) y = Add(r, c)", None),
        ("c = Neg(x) y = Clip(x, c)", None),
    ],
)
def test_the_clip_behind_a_node(body: str, found: str | None) -> None:
    model = parse(f"g (float x) => (float y) {{ {body} }}")
    clip = clip_after(model.graph[0])
    assert (clip.outputs[0].name if clip is not None else None) == found


def test_a_graph_output_has_no_clip_behind_it() -> None:
    model = parse("g (float x) => (float c, float y) { c = Neg(x) y = Relu(c) }")
    assert clip_after(model.graph[0]) is None


def test_rank() -> None:
    model = parse("g (float[N,3] x) => (float y) { y = Neg(x) }")
    assert rank_of(model.graph.inputs[0]) == 2
    assert rank_of(None) is None
