from __future__ import annotations

import math

import pytest

from bmopt.errors import UsageError
from bmopt.training.objective import Objective
from bmopt.training.options import TrainOptions
from bmopt.training.outputs import Output, outputs_of
from tests.quantizing import named

torch = pytest.importorskip("torch")

SCORES = Output("y", "y", is_scores=False)


def objective(label_weight: float, features: tuple[str, ...] = (), **options: float) -> Objective:
    return Objective(torch, TrainOptions(**options), (SCORES,), {"y": "t"}, features, label_weight)


def scores(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


def test_labels_alone_are_cross_entropy() -> None:
    loss = objective(1.0).loss({"y": scores([0.0, 0.0])}, {}, torch.tensor([1]))
    assert float(loss) == pytest.approx(math.log(2))


def test_equal_scores_cost_nothing_and_constants_do_not_count() -> None:
    mine, theirs = scores([1.0, 3.0]), scores([11.0, 13.0])
    assert float(objective(0.0).loss({"y": mine}, {"t": theirs}, None)) == pytest.approx(
        0, abs=1e-5
    )


def test_scores_are_softened_by_the_temperature() -> None:
    mine, theirs = scores([0.0, 0.0]), scores([4.0, 0.0])
    found = float(objective(0.0, temperature=2.0).loss({"y": mine}, {"t": theirs}, None))
    share = 1 / (1 + math.exp(-2))
    expected = share * math.log(2 * share) + (1 - share) * math.log(2 * (1 - share))
    assert found == pytest.approx(4 * expected, rel=1e-5)


def test_the_shares_add_up() -> None:
    mine, theirs, labels = scores([1.0, 0.0]), scores([0.0, 2.0]), torch.tensor([0])
    parts = [
        float(objective(w).loss({"y": mine}, {"t": theirs}, labels)) for w in (0.0, 0.25, 1.0)
    ]
    assert parts[1] == pytest.approx(0.75 * parts[0] + 0.25 * parts[2])


def test_values_that_are_no_scores_are_compared_by_relative_error() -> None:
    mine, theirs = torch.zeros(2, 1), torch.tensor([[3.0], [1.0]])
    assert float(objective(0.0).loss({"y": mine}, {"t": theirs}, None)) == pytest.approx(1.0)


def test_features_are_added() -> None:
    told = objective(1.0, ("r",), feature_weight=0.5)
    assert told.reads == ["y", "r"]
    assert told.teacher_reads == ["r"], "the teacher's scores are not needed"
    found = {"y": scores([0.0, 0.0]), "r": torch.zeros(1, 3)}
    loss = told.loss(found, {"r": torch.ones(1, 3)}, torch.tensor([0]))
    assert float(loss) == pytest.approx(math.log(2) + 0.5)


def test_labels_need_scores_of_classes() -> None:
    with pytest.raises(UsageError, match="scores of classes"):
        objective(1.0).loss({"y": torch.zeros(2, 1)}, {}, torch.tensor([0, 0]))


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ("y = Softmax(x)", "x"),
        ("r = Relu(x) s = LogSoftmax(r) y = Identity(s)", "r"),
        ("s = Softmax(x) y = Relu(s)", "y"),
    ],
)
def test_scores_are_read_before_a_softmax_at_the_end(body: str, read: str) -> None:
    model = named(f"g (float[N,4] x) => (float[N,4] y) {{ {body} }}")
    assert [out.read for out in outputs_of(model)] == [read]
