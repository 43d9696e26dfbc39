from __future__ import annotations

import pytest

from bmopt.optimizer.passes.pool_means import PoolMeans
from tests.rewriting import assert_keeps, assert_rewrites


def test_mean_over_an_image_becomes_a_pool() -> None:
    assert_rewrites(
        PoolMeans(),
        before="""g (float[N, 3, 4, 5] x) => (float[N, 3, 1, 1] y) {
            y = ReduceMean<axes = [2, 3], keepdims = 1>(x) }""",
        after="g (float[N, 3, 4, 5] x) => (float[N, 3, 1, 1] y) { y = GlobalAveragePool(x) }",
    )


@pytest.mark.parametrize("axes", ["[2, 3]", "[-1, -2]"])
def test_dropped_axes_are_flattened_away(axes: str) -> None:
    assert_rewrites(
        PoolMeans(),
        before=f"""g (float[N, 3, 4, 5] x) => (float[N, 3] y) {{
            m = ReduceMean<axes = {axes}, keepdims = 0>(x)  y = Relu(m) }}""",
        after="""g (float[N, 3, 4, 5] x) => (float[N, 3] y) {
            p = GlobalAveragePool(x)  m = Flatten<axis = 1>(p)  y = Relu(m) }""",
    )


def test_axes_may_be_an_input() -> None:
    assert_rewrites(
        PoolMeans(),
        before="""g (float[N, 3, 4, 5] x) => (float[N, 3, 1, 1] y) <int64[2] axes = {2, 3}> {
            y = ReduceMean(x, axes) }""",
        after="g (float[N, 3, 4, 5] x) => (float[N, 3, 1, 1] y) { y = GlobalAveragePool(x) }",
        opset=18,
    )


@pytest.mark.parametrize(
    "text",
    [
        "g (float[N, 3, 4] x) => (float[N, 3, 1] y) { y = ReduceMean<axes = [2]>(x) }",
        "g (float[N, 3, 4, 5] x) => (float[N, 1, 4, 1] y) { y = ReduceMean<axes = [1, 3]>(x) }",
        "g (float[N, 3, 4, 5] x) => (float[1, 1, 1, 1] y) { y = ReduceMean(x) }",
    ],
)
def test_other_means_stay(text: str) -> None:
    assert assert_keeps(PoolMeans(), text).refusals


def test_computed_axes_stay() -> None:
    outcome = assert_keeps(
        PoolMeans(),
        """g (float[2, 3, 4, 5] x, int64[2] axes) => (float y) { y = ReduceMean(x, axes) }""",
        opset=18,
        compare=False,
    )
    assert outcome.refusals
