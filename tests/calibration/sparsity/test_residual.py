from __future__ import annotations

import pytest

from bmopt.calibration.sparsity.residual import residual_of
from tests.rewriting import parse

HEAD = "g (float[2,2] x, float[2,2] z) => (float[2,2] y) <float[2] c = {1,2}> "


@pytest.mark.parametrize(
    ("body", "other"),
    [
        ("{ h = MatMul(x, x) y = Add(h, z) }", "z"),
        ("{ h = MatMul(x, x) y = Add(z, h) }", "z"),
        ("{ h = MatMul(x, x) b = Add(c, h) y = Add(b, z) }", "z"),
        ("{ h = MatMul(x, x) y = Add(h, c) }", None),
        ("{ h = MatMul(x, x) y = Add(h, h) }", None),
        ("{ h = MatMul(x, x) r = Relu(h) y = Add(r, z) }", None),
        ("{ h = MatMul(x, x) s = Add(h, z) y = Mul(s, h) }", None),
        ("{ h = MatMul(x, x) y = Mul(h, z) }", None),
    ],
)
def test_what_an_output_is_added_to(body: str, other: str | None) -> None:
    found = residual_of(parse(HEAD + body).graph[0].outputs[0])
    assert (None if found is None else found.other.name) == other
