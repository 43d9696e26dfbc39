from __future__ import annotations

import numpy as np

from bmopt.graph.origin import origin_of
from bmopt.optimizer.passes.fuse_layer_norm import FuseLayerNorm
from bmopt.optimizer.passes.raise_opset import RaiseOpset
from bmopt.optimizer.rewrite import opset
from tests.rewriting import assert_keeps, check_pass, parse, random_feeds, run_plain

LAYER_NORM = """
g (float[2, 8] x) => (float[2, 8] y)
<float two = {2.0}, float tiny = {0.00001}, float[8] s = {1,2,3,4,5,6,7,8},
 float[8] b = {8,7,6,5,4,3,2,1}> {
    m = ReduceMean<axes = [-1]>(x)
    d = Sub(x, m)
    q = Pow(d, two)
    v = ReduceMean<axes = [-1]>(q)
    e = Add(v, tiny)
    r = Sqrt(e)
    n = Div(d, r)
    t = Mul(n, s)
    y = Add(t, b)
}
"""


def test_raises_as_far_as_a_fusion_needs() -> None:
    model = parse(LAYER_NORM, opset=13)
    feeds = random_feeds(model)
    (want,) = run_plain(model, feeds)
    assert RaiseOpset()(model).modified
    assert opset(model) == 17
    assert not RaiseOpset()(model).modified
    assert all(origin_of(node) for node in model.graph)
    assert FuseLayerNorm()(model).modified
    assert [node.op_type for node in model.graph] == ["LayerNormalization"]
    np.testing.assert_allclose(run_plain(model, feeds)[0], want, rtol=1e-4, atol=1e-5)


def test_keeps_a_model_without_such_a_fusion() -> None:
    assert_keeps(RaiseOpset(), "g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=11)


def test_raises_to_a_given_opset() -> None:
    text = "g (float[2, 3] x) => (float[2, 3] y) { y = Dropout<ratio = 0.5>(x) }"
    model = parse(text, opset=11)
    assert check_pass(RaiseOpset(to=13), model).modified
    assert opset(model) == 13
    assert_keeps(RaiseOpset(to=10), text, opset=11)


FUNCTION = """<ir_version: 8, opset_import: ["" : 11, "own" : 1]>
g (float[2] x) => (float[2] y) { y = own.twice(x) }
<domain: "own", opset_import: ["" : 11]>
twice (a) => (b) { b = Add(a, a) }
"""


def test_refuses_where_the_converter_does() -> None:
    outcome = assert_keeps(RaiseOpset(to=13), FUNCTION)
    (refusal,) = outcome.refusals
    assert "cannot be raised from opset 11 to 13: it has local functions" in refusal.reason
