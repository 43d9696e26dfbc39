"""Rows times the weight are what the engine computes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import hypothesis.strategies as st
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from bmopt.calibration.sequence.rows import Rows, spread, weight_from_matrix, weight_matrix
from bmopt.core.runner import Array
from bmopt.graph.products import Product, product_of
from tests.engine import PlainRunner

EVERY = 1 << 20
FLOAT = ir.TensorType(ir.DataType.FLOAT)


def product(op: str, x: Array, weight: Array, bias: Array | None, **attributes: object) -> Product:
    """Return a node with constants; its output is as the engine has it."""
    inputs = [ir.Value(name="x", type=FLOAT, shape=ir.Shape(x.shape))]
    constants = []
    for name, array in (("w", weight), ("b", bias)):
        if array is not None:
            tensor = ir.tensor(array, name=name)
            constants.append(ir.Value(name=name, type=FLOAT, const_value=tensor))
    node = ir.node(op, [*inputs, *constants], attributes, name="p")
    node.outputs[0].name = "y"
    node.outputs[0].type = FLOAT
    graph = ir.Graph(
        inputs, node.outputs, nodes=[node], initializers=constants, opset_imports={"": 17}
    )
    graph.name = "g"
    found = product_of(node)
    assert found is not None
    return found


def computed(found: Product, x: Array) -> Array:
    assert found.node.graph is not None
    with PlainRunner(ir.Model(found.node.graph, ir_version=8)) as runner:
        return runner.run({"x": x})["y"]


def by_rows(found: Product, x: Array, bias: Array | None) -> Array:
    """Return the outputs of all positions as ``[positions, channels]``."""
    (rows,) = Rows(found, EVERY).pick([x], np.random.default_rng(0))
    matrix = weight_matrix(found, found.weight())
    outputs = np.concatenate(list(rows @ matrix.swapaxes(1, 2)), axis=1)
    return outputs if bias is None else outputs + bias


def numbers(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    return rng.standard_normal(tuple(shape)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class ConvCase:
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str
    groups: int
    inputs: int
    outputs: int
    bias: bool


@st.composite
def conv_cases(draw: st.DrawFn) -> ConvCase:
    rank = draw(st.integers(1, 3))
    per_axis = [
        (draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2)))
        for _ in range(rank)
    ]
    kernel, strides, dilations = (tuple(v) for v in zip(*per_axis, strict=True))
    size = tuple(
        (k - 1) * d + draw(st.integers(1, 4)) for k, d in zip(kernel, dilations, strict=True)
    )
    modes = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]
    auto_pad = draw(st.sampled_from(modes if set(dilations) == {1} else modes[:2]))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(2 * rank)) if auto_pad == "NOTSET" else ()
    groups = draw(st.integers(1, 3))
    inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    bias = draw(st.booleans())
    return ConvCase(
        size, kernel, strides, dilations, pads, auto_pad, groups, inputs, outputs, bias
    )


@settings(max_examples=120, deadline=None, derandomize=True)
@given(conv_cases())
def test_rows_of_a_convolution(case: ConvCase) -> None:
    rng = np.random.default_rng(0)
    x = numbers(rng, (2, case.groups * case.inputs, *case.size))
    weight = numbers(rng, (case.groups * case.outputs, case.inputs, *case.kernel))
    bias = numbers(rng, (len(weight),)) if case.bias else None
    attributes: dict[str, object] = {
        "kernel_shape": case.kernel,
        "strides": case.strides,
        "dilations": case.dilations,
        "group": case.groups,
        "auto_pad": case.auto_pad,
    }
    if case.pads:
        attributes["pads"] = case.pads
    found = product("Conv", x, weight, bias, **attributes)
    wanted = computed(found, x)
    flat = np.moveaxis(wanted, 1, -1).reshape(-1, len(weight))
    rows = by_rows(found, x, bias)
    np.testing.assert_allclose(rows, flat, rtol=1e-4, atol=1e-5)


def test_a_depthwise_convolution_without_attributes() -> None:
    rng = np.random.default_rng(1)
    x, weight = numbers(rng, (2, 5, 6, 7)), numbers(rng, (5, 1, 3, 3))
    found = product("Conv", x, weight, None, group=5)
    flat = np.moveaxis(computed(found, x), 1, -1).reshape(-1, 5)
    rows = by_rows(found, x, None)
    np.testing.assert_allclose(rows, flat, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_rows_of_a_gemm(turned: bool) -> None:
    rng = np.random.default_rng(2)
    x, weight, bias = numbers(rng, (6, 4)), numbers(rng, (4, 3)), numbers(rng, (3,))
    stored = np.ascontiguousarray(weight.T) if turned else weight
    found = product("Gemm", x, stored, bias, transB=int(turned))
    np.testing.assert_allclose(by_rows(found, x, bias), computed(found, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(weight_from_matrix(found, weight_matrix(found, stored)), stored)


@pytest.mark.parametrize("shape", [(6, 4), (2, 5, 4), (2, 3, 5, 4), (4,)])
def test_rows_of_a_matmul(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    x, weight = numbers(rng, shape), numbers(rng, (4, 3))
    found = product("MatMul", x, weight, None)
    rows = by_rows(found, x, None)
    np.testing.assert_allclose(rows, computed(found, x).reshape(-1, 3), rtol=1e-5, atol=1e-6)


def test_the_same_rows_are_picked_of_both_inputs() -> None:
    rng = np.random.default_rng(4)
    x, weight = numbers(rng, (4, 3, 9, 9)), numbers(rng, (2, 3, 3, 3))
    found = product("Conv", x, weight, None, pads=[1, 1, 1, 1])
    mine, double = Rows(found, 5).pick([x, 2 * x], np.random.default_rng(5))
    assert mine.shape == (1, 20, 27)
    assert mine.dtype == np.float32
    np.testing.assert_array_equal(double, 2 * mine)
    again, _ = Rows(found, 5).pick([x, x], np.random.default_rng(5))
    np.testing.assert_array_equal(again, mine)


def test_picked_rows_are_rows_of_the_whole_in_the_order_of_samples() -> None:
    rng = np.random.default_rng(6)
    x, weight = numbers(rng, (4, 3, 5, 5)), numbers(rng, (2, 3, 2, 2))
    found = product("Conv", x, weight, None)
    (every,) = Rows(found, EVERY).pick([x], rng)
    (few,) = Rows(found, 3).pick([x], rng)
    places = [int(np.flatnonzero((every[0] == row).all(axis=1))[0]) for row in few[0]]
    assert places == sorted(set(places))
    assert len({place // 16 for place in places}) == 4, "every sample has some"


@pytest.mark.parametrize(("per_sample", "per_pick", "rows"), [(2, None, 8), (2, 5, 5), (99, 7, 7)])
def test_rows_are_limited(per_sample: int, per_pick: int | None, rows: int) -> None:
    rng = np.random.default_rng(7)
    x = numbers(rng, (4, 10, 6))
    found = product("MatMul", x, numbers(rng, (6, 2)), None)
    (picked,) = Rows(found, per_sample, per_pick).pick([x], rng)
    assert picked.shape == (1, rows, 6)


@given(st.integers(0, 400), st.integers(1, 50))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_numbers_are_spread_evenly(total: int, most: int) -> None:
    chosen = spread(total, most, np.random.default_rng(0))
    assert len(chosen) == min(total, most)
    assert len(set(chosen.tolist())) == len(chosen)
    if total:
        assert 0 <= chosen.min() <= chosen.max() < total
        longest = math.ceil(2 * total / len(chosen))
        assert np.diff(chosen, prepend=0, append=total).max() <= longest + 1


def test_infinities_in_padding_are_not_read() -> None:
    x = np.full((1, 1, 2, 2), np.inf, np.float32)
    x[0, 0, 1, 1] = 1.0
    found = product("Conv", x, np.ones((1, 1, 3, 3), np.float32), None, pads=[1, 1, 1, 1])
    (rows,) = Rows(found, EVERY).pick([x], np.random.default_rng(0))
    assert not np.isnan(rows).any()
    assert (rows[0, 0].reshape(3, 3)[0] == 0).all()
