from __future__ import annotations

import numpy as np

from bmopt.optimizer.equivalence import Equivalence, tap
from bmopt.optimizer.probe_feeds import Extents, random_feeds, seeded_feeds
from tests.engine import PlainRunner
from tests.rewriting import parse, structure

NONZERO = """
g (float[N, 4] x) => (int64[2, K] y) {
    n = NonZero(x)
    y = Identity(n)
}
"""


def test_feeds_vary_dynamic_axes_and_share_symbols() -> None:
    model = parse(
        "g (float[N, T] x, float[T, 3] w, int64[N] i) => (float[N, 3] y) { y = MatMul(x, w) }"
    )
    feeds = seeded_feeds(PlainRunner, model)
    assert [f["x"].shape for f in feeds] == [(2, 64), (3, 96)]
    assert [f["w"].shape for f in feeds] == [(64, 3), (96, 3)]
    assert set(np.unique(feeds[0]["i"])) <= {0, 1}
    again = seeded_feeds(PlainRunner, model)
    np.testing.assert_array_equal(feeds[0]["x"], again[0]["x"])


def test_given_axes_are_kept() -> None:
    model = parse("g (float[N, T] x) => (float[N, T] y) { y = Relu(x) }")
    feeds = seeded_feeds(PlainRunner, model, axes={"N": 1, "T": 5})
    assert [f["x"].shape for f in feeds] == [(1, 5), (1, 5)]
    assert not np.array_equal(feeds[0]["x"], feeds[1]["x"])


def test_extents_that_the_model_refuses_are_skipped() -> None:
    model = parse(
        "g (float[N, T] x) => (float[1, 16] y) <int64[2] s = {1, 16}> { y = Reshape(x, s) }"
    )
    assert [f["x"].shape for f in seeded_feeds(PlainRunner, model)] == [(1, 16)]


def test_inputs_with_a_default_are_left_to_it() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert set(random_feeds(model, Extents(1, 1), 0)) == {"x"}


def test_outputs_of_data_dependent_shape_are_compared() -> None:
    model = parse(NONZERO)
    check = Equivalence.seeded(PlainRunner, model, samples=[{"x": np.eye(4, dtype=np.float32)}])
    reference = check.reference(model)
    assert len(reference.feeds) == 3
    assert check.fault(reference, model) is None
    other = parse(NONZERO.replace("NonZero(x)", "NonZero(z)").replace("{", "{ z = Relu(x)", 1))
    fault = check.fault(reference, other)
    assert fault is not None
    assert "shape" in fault


def test_feeds_the_original_refuses_are_left_out() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    good, bad = {"x": np.ones(2, np.float32)}, {"x": np.ones(3, np.float32)}
    reference = Equivalence(PlainRunner, (bad, good)).reference(model)
    assert reference.feeds == (good,)
    assert not reference.reason
    assert "does not run" in Equivalence(PlainRunner, (bad,)).reference(model).reason
    assert "no feeds" in Equivalence(PlainRunner, ()).reference(model).reason


def test_locate_names_the_first_tensor_in_order() -> None:
    text = "g (float[4] x) => (float[4] y) { a = Neg(x) b = LeakyRelu<alpha=0.1>(a) y = Neg(b) }"
    before, after = parse(text), parse(text.replace("0.1", "0.2"))
    check = Equivalence.seeded(PlainRunner, before)
    found = check.locate(before, after)
    assert found is not None
    assert found.tensor == "b"
    assert check.locate(before, before) is None


def test_tap_adds_outputs_to_a_copy() -> None:
    model = parse("g (float[4] x) => (float[4] y) { a = Neg(x) y = Neg(a) }")
    before = structure(model)
    assert [v.name for v in tap(model, ["a", "y"]).graph.outputs] == ["y", "a"]
    assert structure(model) == before
