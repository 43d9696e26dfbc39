"""Kernels compute the same, whatever is decided about how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.tuning.decisions import Decisions, decided, deciding, writing
from tests.backends.tvm.installed import model_of, needs_tvm
from tests.backends.tvm.tuning.forcing import Forced

if not probe.why_not():
    from tests.backends.tvm.lowering.lowered import agrees

_MODEL = """
net (float[N, 3, 11, 31] image) => (float[N, 48, 6, 16] out)
<float[32, 3, 3, 3] w1, float[32] b1, float[32, 1, 3, 3] w2, float[48, 32, 1, 1] w3> {
    c1 = Conv<pads = [1, 1, 1, 1]>(image, w1, b1)
    r1 = Relu(c1)
    c2 = Conv<pads = [1, 1, 1, 1], strides = [2, 2], group = 32>(r1, w2)
    r2 = Relu(c2)
    out = Conv(r2, w3)
}
"""


@needs_tvm
@pytest.mark.parametrize("name", ["tile", "unroll", "overlap", "rows-outside", "shared"])
def test_a_decision_changes_no_result(name: str) -> None:
    forced = Forced(name, lambda options: options[-1])
    with writing(forced):
        kernels = agrees(model_of(_MODEL), batch=2, threads=2)
    assert kernels["conv"] == 2
    assert forced.taken


@needs_tvm
@pytest.mark.parametrize("name", ["tile", "shared"])
def test_a_decision_on_a_product_changes_no_result(name: str) -> None:
    forced = Forced(name, lambda options: options[-1])
    model = model_of("g (float[2, 33, 20] a, float[2, 20, 37] b) => (float[2, 33, 37] y) "
                     "{ y = MatMul(a, b) }")  # fmt: skip
    with writing(forced):
        assert agrees(model, threads=2)["product"] == 1
    assert forced.taken


@needs_tvm
def test_kernels_are_described_without_their_weights() -> None:
    described = []
    for _ in range(2):
        forced = Forced("nothing", lambda options: options[0])
        seen: list[str] = []

        def written(workload: str, write: Callable[[], Any], seen: list[str] = seen) -> Any:
            seen.append(workload)
            return write()

        forced.written = written  # type: ignore[method-assign]
        with writing(forced):
            agrees(model_of(_MODEL))
        described.append(seen)
    assert described[0] == described[1]
    assert len(set(described[0])) == 3
    assert not any("0x" in one or "array" in one for one in described[0])


def test_the_first_option_is_taken_unless_another_was_chosen() -> None:
    assert decided("tile", [(1, 2), (3, 4)]) == (1, 2)
    decisions = Decisions({"tile": (3, 4), "unroll": 9})
    with deciding(decisions):
        assert decided("tile", [(1, 2), (3, 4)]) == (3, 4)
        assert decided("unroll", [1, 2]) == 1
    assert decisions.seen == {"tile": ((1, 2), (3, 4)), "unroll": (1, 2)}
