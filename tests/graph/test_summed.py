from __future__ import annotations

import numpy as np
import pytest

from bmopt.graph.products import product_of
from bmopt.graph.summed import by_sum, from_sum
from tests.graph.test_sparsity import model_of
from tests.rewriting import run_plain

ONE_HOT = {
    "conv": ("g (float[1,4,1,1] x) => (float[1,6,1,1] y) { y = Conv(x, w) }", (6, 4, 1, 1)),
    "grouped": (
        "g (float[1,4,1,1] x) => (float[1,6,1,1] y) { y = Conv<group=2>(x, w) }",
        (6, 2, 1, 1),
    ),
    "transposed": (
        "g (float[1,4,1,1] x) => (float[1,6,1,1] y) { y = ConvTranspose<group=2>(x, w) }",
        (4, 3, 1, 1),
    ),
    "gemm": ("g (float[1,4] x) => (float[1,6] y) { y = Gemm(x, w) }", (4, 6)),
    "gemm_t": ("g (float[1,4] x) => (float[1,6] y) { y = Gemm<transB=1>(x, w) }", (6, 4)),
    "matmul": ("g (float[1,4] x) => (float[1,6] y) { y = MatMul(x, w) }", (4, 6)),
    "stacked": ("g (float[3,1,4] x) => (float[3,1,6] y) { y = MatMul(x, w) }", (3, 4, 6)),
}


@pytest.mark.parametrize("kind", ONE_HOT)
def test_outputs_are_sums_over_the_inputs(kind: str) -> None:
    text, shape = ONE_HOT[kind]
    rng = np.random.default_rng(3)
    weight = rng.standard_normal(shape).astype(np.float32)
    model = model_of(text, weight)
    product = product_of(model.graph[0])
    assert product is not None
    split = by_sum(product, weight)
    assert np.array_equal(from_sum(product, split), weight)
    feeds = rng.standard_normal([int(d) for d in model.graph.inputs[0].shape or ()])
    (found,) = run_plain(model, {"x": feeds.astype(np.float32)})
    rows = feeds.reshape(split.shape[0], -1, split.shape[2])
    wanted = np.einsum("gri,goi->gro", rows, split[..., 0])
    np.testing.assert_allclose(found.reshape(-1), wanted.reshape(-1), rtol=1e-4, atol=1e-5)


def test_taps_come_last() -> None:
    weight = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    product = product_of(
        model_of("g (float[1,3,4,4] x) => (float[1,2,3,3] y) { y = Conv(x, w) }", weight).graph[0]
    )
    assert product is not None
    assert np.array_equal(by_sum(product, weight)[0, 1, 2], weight[1, 2].reshape(-1))
