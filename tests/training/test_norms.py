"""Normalisations that come and go must not change what a model computes."""

from __future__ import annotations

import numpy as np
import pytest

from bmopt.training.norms import measured, norms_of
from bmopt.training.parameters import parameters_of, with_arrays
from bmopt.training.student import Student
from tests.optimizer.literals import batch_norm
from tests.quantizing import named
from tests.training.lessons import INITS, net, outputs, quarters

torch = pytest.importorskip("torch")


def normalised() -> tuple[Student, dict[str, torch.Tensor]]:
    model = net()
    parameters = parameters_of(model)
    student = Student(torch, model, parameters)
    feeds = {"x": torch.from_numpy(quarters().feeds["x"])}
    norms = norms_of(model, parameters)
    student.normalise(norms, measured(torch, norms, [feeds, feeds], student.run))
    return student, feeds


def test_they_change_nothing_at_first() -> None:
    student, feeds = normalised()
    found = student.run(feeds, ["y"])["y"].detach().numpy()
    np.testing.assert_allclose(found, outputs(net(), quarters()), atol=1e-4)


def test_statistics_are_those_of_the_samples() -> None:
    student, feeds = normalised()
    plain = Student(torch, net()).run(feeds, ["c1"])["c1"]
    np.testing.assert_allclose(
        student.variables["c1:mean"].numpy(), plain.mean(dim=(0, 2, 3)).numpy(), atol=1e-5
    )
    np.testing.assert_allclose(
        student.variables["c1:variance"].numpy(),
        plain.var(dim=(0, 2, 3), correction=0).numpy(),
        rtol=1e-4,
    )


def test_training_normalises_by_the_batch_and_remembers_it() -> None:
    student, feeds = normalised()
    before = student.arrays()["c1:mean"]
    shifted = {"x": feeds["x"] + 1.0}
    found = student.run(shifted, ["c1"], is_training=True)["c1"].detach()
    np.testing.assert_allclose(found.mean(dim=(0, 2, 3)).numpy(), before, atol=1e-4)
    assert np.abs(student.arrays()["c1:mean"] - before).max() > 0.01


def test_folded_they_compute_the_same() -> None:
    student, feeds = normalised()
    rng = np.random.default_rng(1)
    changed = {n: a + rng.uniform(0, 0.3, a.shape) for n, a in student.arrays().items()}
    student.load(changed)
    expected = student.run(feeds, ["y"])["y"].detach().numpy()
    stored = student.stored()
    assert list(stored) == [p.name for p in parameters_of(net())]
    np.testing.assert_allclose(
        outputs(with_arrays(net(), stored), quarters()), expected, atol=1e-3
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("c = Conv(x, w, b) y = Relu(c)", ["c"]),
        ("c = Conv(x, w) y = Relu(c)", []),
        ("c = Conv(x, w, g) y = BatchNormalization(c, g, b, m, v)", []),
        ("c = Conv(x, w, b) d = Conv(c, w, g) y = Relu(d)", []),
        ("c = Conv(x, w, b) y = Add(c, b)", []),
    ],
)
def test_they_stand_where_they_can_be_folded(body: str, expected: list[str]) -> None:
    model = named(f"g (float[N,4,5,5] x) => (float y) <{INITS}, {batch_norm(4)}> {{ {body} }}")
    assert [norm.node for norm in norms_of(model, parameters_of(model))] == expected
