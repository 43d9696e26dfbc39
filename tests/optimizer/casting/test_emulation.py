from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.backends.onnxruntime.session import open_model
from bmopt.core.runner import Array
from bmopt.optimizer.casting.emulation import emulate_bfloat16, has_bfloat16
from tests.rewriting import parse

CHAIN = """
    g (float[N,4] x) => (float[N,4] y) {
        h = Cast<to=16>(x) a = Mul(h, h) b = Sqrt(a) y = Cast<to=1>(b)
    }
"""
BRANCH = """
    g (float[2] x, bool c) => (float[2] y) {
        h = Cast<to=16>(x)
        i = If(c) <
            then_branch = t () => (bfloat16[2] a) { a = Mul(h, h) },
            else_branch = e () => (bfloat16[2] b) { b = Add(h, h) }
        >
        y = Cast<to=1>(i)
    }
"""


def rounded(array: Array) -> Array:
    return array.astype(ml_dtypes.bfloat16).astype(np.float32)


def answer(model: ir.Model, **feeds: Array) -> Array:
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    with open_model(model) as runner:
        (output,) = runner.run(feeds).values()
    return np.asarray(output)


def test_every_tensor_is_rounded_where_it_is_written() -> None:
    model = parse(CHAIN)
    assert has_bfloat16(model)
    x = np.random.default_rng(0).uniform(0.1, 9.0, (16, 4)).astype(np.float32)
    h = rounded(x)
    expected = rounded(np.sqrt(rounded(h * h)))
    assert np.array_equal(answer(emulate_bfloat16(model), x=x), expected)
    assert not np.array_equal(expected, x)


@pytest.mark.parametrize("taken", [True, False])
def test_bodies_are_emulated_too(taken: bool) -> None:
    x = np.array([1.00390625, 3.3], np.float32)
    h = rounded(x)
    found = answer(emulate_bfloat16(parse(BRANCH)), x=x, c=np.array(taken))
    assert np.array_equal(found, rounded(h * h if taken else h + h))


def test_inputs_and_outputs_become_float32() -> None:
    model = parse("g (bfloat16[N] x) => (bfloat16[N] y) { y = Relu(x) }")
    x = np.array([-1.0, 1.001, 2.0], np.float32)
    found = answer(emulate_bfloat16(model), x=x)
    assert found.dtype == np.float32
    assert np.array_equal(found, rounded(np.maximum(x, 0)))


def test_a_float32_model_has_none() -> None:
    assert not has_bfloat16(parse("g (float[N] x) => (float[N] y) { y = Relu(x) }"))
