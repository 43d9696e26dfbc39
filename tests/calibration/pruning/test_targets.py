from __future__ import annotations

import pytest

from bmopt.calibration.pruning.targets import branch_beside
from bmopt.graph.products import product_of
from tests.calibration.pruning.nets import net
from tests.optimizer.literals import weights

NET = f"""
g (float[N,4] x, float[N,4] z) => (float[N,4] y, float[N,4] out)
  <{weights("w1", (4, 4))}, {weights("w2", (4, 4))}, {weights("w3", (4, 4))},
   {weights("b1", (4,))}, {weights("w4", (4, 4))}, {weights("row", (1, 4))},
   {weights("w5", (4, 4))}>
{{
  m1 = MatMul(x, w1)
  a1 = Add(m1, b1)
  s1 = Add(z, a1)
  m2 = MatMul(s1, w2)
  m3 = MatMul(s1, w3)
  s2 = Add(m2, m3)
  m4 = MatMul(s2, w4)
  twice = Add(m4, m4)
  y = Add(twice, row)
  m5 = MatMul(s2, w5)
  out = Add(m5, row)
}}
"""


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("m1", "z"), ("m2", None), ("m3", "m2"), ("m4", None), ("m5", None)],
)
def test_the_branch_is_one_that_is_there_before(name: str, wanted: str | None) -> None:
    model = net(NET)
    product = product_of(next(node for node in model.graph if node.name == name))
    assert product is not None
    places = {node: at for at, node in enumerate(model.graph)}
    assert branch_beside(product, places) == wanted
