from __future__ import annotations

import pytest

from bmopt.calibration.residual import Residuals
from tests.optimizer.literals import weights
from tests.quantizing import named

INITS = ", ".join(
    [*(weights(name, (4, 4, 1, 1)) for name in "uvw"), "float s = {2}", weights("t", (4, 1, 1))]
)


def skip(body: str, data: str = "float[N,4,8,8] x") -> tuple[int | None, str]:
    """Return what is said of the node ``y``, where all convolutions run in 8 bits."""
    model = named(f"g ({data}) => (float y) <{INITS}> {{ {body} }}")
    integer = {node for node in model.graph if node.op_type.startswith("Conv")}
    return Residuals(model.graph, integer).skip_of(model.graph.node("y"))


@pytest.mark.parametrize(
    ("body", "index"),
    [
        ("c = Conv(x, w) y = Add(x, c)", 0),
        ("c = Conv(x, w) y = Add(c, x)", 1),
        ("c = ConvTranspose(x, w) y = Add(c, x)", 1),
        ("a = Relu(x) c = Conv(a, w) d = Conv(c, v) y = Add(d, a)", 1),
        ("c = Conv(x, w) b = Add(c, t) r = Relu(b) m = Mul(s, r) y = Add(m, x)", 1),
        # A block with a convolution on both sides: the longer way is the backbone.
        ("c = Conv(x, w) r = Relu(c) d = Conv(r, v) e = Conv(x, u) y = Add(d, e)", 1),
        ("c = Conv(x, w) r = Relu(c) d = Conv(r, v) e = Conv(x, u) y = Add(e, d)", 0),
        ("c = Conv(x, w) d = Conv(x, v) y = Add(c, d)", 1),
        ("c = Conv(x, w) e = Sigmoid(x) y = Add(e, c)", 0),
        # The skip is rearranged on its way.
        ("c = Conv(x, w) r = Relu(c) d = Conv(r, v) e = Slice(x, z, z, z) y = Add(e, d)", 0),
        # What convolutions parted from may lie far above.
        ("a = Tanh(x) c = Conv(a, w) d = Conv(c, v) e = Conv(d, u) y = Add(e, a)", 1),
    ],
)
def test_the_shorter_way_is_the_skip(body: str, index: int) -> None:
    data = "float[N,4,8,8] x, int64[4] z"
    assert skip(body, data) == (index, "")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("c = Conv(x, w) y = Add(c, t)", "one operand is constant"),
        ("c = Conv(x, w) y = Add(c, c)", "or both are the same"),
        ("a = Relu(x) y = Add(x, a)", "no operand comes from a convolution"),
        ("c = Conv(x, w) a = Sigmoid(c) y = Add(x, a)", "no operand comes from a convolution"),
        ("c = Conv(x, w) y = Add(x, c) z = Relu(c)", "no operand comes from a convolution"),
        ("c = Conv(x, w) m = Mul(c, x) y = Add(x, m)", "no operand comes from a convolution"),
        ("c = Conv(x, w) r = ReduceMax(c) y = Add(x, r)", "no operand comes from"),
        ("c = Conv(x, w) a = Sigmoid(x) b = Tanh(a) y = Add(c, b)", "on the shorter way"),
        ("c = Conv(x, w) y = Add(c, p)", "no source in common"),
        ("y = Add(p, q)", "differ in shape"),
    ],
)
def test_other_adds_have_none(body: str, reason: str) -> None:
    data = "float[N,4,8,8] x, float[N,4,8,8] p, float[N,4,1,1] q"
    index, found = skip(body, data)
    assert index is None
    assert reason in found


def test_the_longest_way_counts() -> None:
    body = (
        "a = Relu(x) b = Tanh(a) c = Tanh(b) e = Sum(a, c) d = Conv(e, w) "
        "f = Tanh(a) h = Tanh(f) i = Conv(h, v) y = Add(d, i)"
    )
    assert skip(body) == (1, "")
