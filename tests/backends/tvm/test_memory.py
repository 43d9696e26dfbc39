from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.memory import InputMemory, fetched
from bmopt.backends.tvm.runtime import open_library
from tests.backends.tvm.installed import compiled, model_of, needs_tvm, saved

pytestmark = needs_tvm

_PASSES_ON = """
block (float[N, 4] x) => (float[N, 2, 2] same, float[N, 4] y) {
    shape = Constant<value = int64[3] {-1, 2, 2}>()
    same = Reshape(x, shape)
    y = Neg(x)
}
"""


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool"]
)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 1, 7)])
def test_values_arrive_whatever_their_type_and_place(dtype: str, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    memory = InputMemory(1)
    for _ in range(2):
        array = (8 * random.standard_normal((2, *shape))).astype(dtype)[1]
        array = np.asarray(array)
        (tensor,) = memory.filled([array])
        found = fetched(tensor)
        np.testing.assert_array_equal(found, array)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)


def test_types_that_numpy_cannot_lend_arrive_too() -> None:
    types = pytest.importorskip("ml_dtypes")
    array = np.array([1.5, -2.0], types.bfloat16)
    (tensor,) = InputMemory(1).filled([array])
    assert fetched(tensor).tolist() == [1.5, -2.0]


def test_memory_is_kept_for_a_shape() -> None:
    memory = InputMemory(2)
    arrays = [np.ones(3, np.float32), np.ones((2, 2), np.int64)]
    first, again = memory.filled(arrays), memory.filled(arrays)
    assert all(one.same_as(other) for one, other in zip(first, again, strict=True))
    larger = memory.filled([np.ones(4, np.float32), arrays[1]])
    assert not larger[0].same_as(first[0])
    assert larger[1].same_as(first[1])
    types = memory.filled([np.ones(4, np.int32), arrays[1]])
    assert types[0].dtype == "int32"


def test_what_is_fetched_is_a_copy() -> None:
    tensor = probe.load("tvm.runtime").tensor(np.zeros(4, np.float32))
    found = fetched(tensor)
    found[:] = 1.0
    assert fetched(tensor).tolist() == [0.0] * 4


def test_an_output_that_is_an_input_outlives_the_next_run(tmp_path: Path) -> None:
    compiled(saved(model_of(_PASSES_ON), tmp_path), tmp_path / "model.so")
    feeds: list[dict[str, Any]] = [{"x": np.full((2, 4), place, np.float32)} for place in (1, 2)]
    with open_library(tmp_path / "model.so", threads=1) as runner:
        first = runner.run(feeds[0])
        runner.run(feeds[1])
    assert first["same"].tolist() == [[[1.0, 1.0], [1.0, 1.0]]] * 2
    assert first["y"].tolist() == [[-1.0] * 4] * 2
    assert feeds[0]["x"].tolist() == [[1.0] * 4] * 2
