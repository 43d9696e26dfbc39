"""Training end to end on a task that takes a second."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.core.runner import Array
from bmopt.errors import DataError, HostError, ModelError, TrainingError, UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.training import loop
from bmopt.training.lesson import Lesson, Trained
from bmopt.training.options import TrainOptions
from bmopt.training.parameters import with_arrays
from bmopt.training.train import train
from tests.optimizer.literals import batch_norm, weights
from tests.quantizing import named
from tests.training.lessons import NET, QUICK, Labelled, net, outputs, quarters, top1

pytest.importorskip("torch")

TEST = quarters(200, seed=9)


def options(**changes: Any) -> TrainOptions:
    return dataclasses.replace(QUICK, **changes)


def lesson(data: Labelled | None = None, **more: Any) -> Lesson:
    return Lesson(net(), data or quarters(), **more)


def same(one: Trained, other: Trained) -> bool:
    return all((array == other.arrays[name]).all() for name, array in one.arrays.items())


@pytest.fixture(scope="module")
def learned() -> Trained:
    return train(lesson(), QUICK)


def test_labels_are_learned(learned: Trained) -> None:
    assert top1(net(), TEST) < 0.6
    assert top1(with_arrays(net(), learned.arrays), TEST) > 0.9
    assert learned.metric == "top1"
    assert [epoch.number for epoch in learned.history] == [0, 1, 2, 3]
    assert learned.history[3].loss < learned.history[1].loss
    best = max(learned.history, key=lambda epoch: epoch.metric)
    assert learned.history[learned.best_epoch].metric == best.metric


def test_the_same_run_gives_the_same_bits_and_another_seed_others(learned: Trained) -> None:
    assert same(train(lesson(), QUICK), learned)
    assert not same(train(lesson(), options(seed=1)), learned)


@pytest.mark.parametrize("changes", [{"optimizer": "sgd"}, {"norms": "none"}, {"smoothing": 0.1}])
def test_other_ways_learn_too(changes: dict[str, Any]) -> None:
    found = train(lesson(), options(**changes))
    assert top1(with_arrays(net(), found.arrays), TEST) > 0.85


def test_bfloat16_learns_too() -> None:
    found = train(lesson(), options(precision="bf16"))
    assert found.precision == "bf16"
    assert top1(with_arrays(net(), found.arrays), TEST) > 0.85


def test_a_teacher_is_enough(learned: Trained) -> None:
    teacher = with_arrays(net(), learned.arrays)
    found = train(lesson(quarters(labelled=False), teacher=teacher), options(features=("auto",)))
    assert found.metric == "agreement"
    mine = outputs(with_arrays(net(), found.arrays), TEST).argmax(axis=1)
    assert np.mean(mine == outputs(teacher, TEST).argmax(axis=1)) > 0.9


def test_values_that_are_no_scores_are_distilled_by_their_error() -> None:
    head = NET.replace("y = Gemm<transB=1>(f, wf, bf)", "y = Mul(f, two)").replace(
        "float[N,4] y", "float[N,8,2] y"
    )
    head = head.replace("f = Flatten(p)", "f = Reshape(p, to)").replace(
        "<float[8", "<int64[3] to = {0, 8, -1}, float two = {2}, float[8", 1
    )
    teacher, student = named(head), named(head.replace("0.", "0.1"))
    data = quarters(labelled=False)
    found = train(Lesson(student, data, teacher), options(epochs=5))
    assert found.metric == "error"
    assert found.history[found.best_epoch].metric > found.history[0].metric * 0.8


def test_running_statistics_are_learned_where_there_are_normalisations() -> None:
    text = NET.replace("r1 = Relu(c1)", "n = BatchNormalization(c1, g, b, m, v) r1 = Relu(n)")
    model = named(text.replace("<float[8", f"<{batch_norm(8)}, float[8", 1))
    found = train(Lesson(model, quarters()), QUICK)
    old = model.graph.initializers["m"].const_value
    assert old is not None
    assert np.abs(found.arrays["m"] - old.numpy()).max() > 0.01
    assert top1(with_arrays(model, found.arrays), TEST) > 0.75


@pytest.mark.parametrize(("layer", "gates"), [("LSTM", 4), ("GRU<linear_before_reset=1>", 3)])
def test_recurrent_weights_are_learned(layer: str, gates: int) -> None:
    kind, _, more = layer.strip(">").partition("<")
    attributes = ", ".join(filter(None, ["hidden_size=32", more]))
    recurrent = f"""q = Reshape(p, to) s = Transpose<perm=[2, 0, 1]>(q)
        all, h = {kind}<{attributes}>(s, lw, lr, lb)
        f = Squeeze(h, nil)"""
    made = ", ".join([
        weights("lw", (1, gates * 32, 8)), weights("lr", (1, gates * 32, 32)),
        weights("lb", (1, gates * 64)), "int64[3] to = {0, 8, 4}", "int64[1] nil = {0}",
    ])  # fmt: skip
    text = NET.replace("f = Flatten(p)", recurrent).replace("<float[8", f"<{made}, float[8", 1)
    model = named(text)
    found = train(Lesson(model, quarters()), options(epochs=6))
    for name in ("lw", "lr", "lb"):
        old = model.graph.initializers[name].const_value
        assert old is not None
        assert np.abs(found.arrays[name] - old.numpy()).max() > 0.001
    assert top1(with_arrays(model, found.arrays), TEST) > 0.75


def test_what_judges_may_be_given_and_never_worse_weights_come_back() -> None:
    found = train(lesson(val=TEST), options(epochs=1, learning_rate=3.0))
    assert found.history[found.best_epoch].metric == max(e.metric for e in found.history)
    trained = with_arrays(net(), found.arrays)
    assert top1(trained, TEST) == pytest.approx(found.history[found.best_epoch].metric, abs=0.011)


def test_it_stops_where_nothing_gets_better() -> None:
    found = train(lesson(), options(epochs=30, learning_rate=1e-12, patience=2))
    assert found.stopped == "no better for 2 epochs"
    assert len(found.history) == 3
    assert found.best_epoch == 0
    kept = with_arrays(net(), found.arrays)
    assert model_digest(kept) == model_digest(net()), "nothing better means nothing else"


def test_time_ends_it() -> None:
    found = train(lesson(), options(epochs=0, seconds=0.5))
    assert found.seconds < 20
    assert found.history[-1].number >= 1


def test_frozen_weights_stay() -> None:
    found = train(lesson(), options(freeze=("w1", "b*")))
    assert set(found.arrays) == {"w2", "wf"}


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("at", [7, 15, 20])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_killed_run_goes_on_to_the_same_bits(
    at: int, optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SAVE_SECONDS", 0.0)
    chosen = options(optimizer=optimizer, augment=("flip", "crop:1"), epochs=2)
    whole = train(lesson(), chosen)
    path = tmp_path / "state"
    killed = lesson(checkpoint=path)

    def kill(done: int, total: int) -> None:
        if done == at:
            raise _KilledError

    with pytest.raises(_KilledError):
        train(killed, chosen, kill)
    resumed = train(killed, chosen)
    assert resumed.resumed_at == at - 1
    assert same(resumed, whole)
    metrics = [epoch.metric for epoch in resumed.history]
    assert metrics == [epoch.metric for epoch in whole.history]


def test_another_run_does_not_take_the_state_up(tmp_path: Path) -> None:
    path = tmp_path / "state"
    train(lesson(checkpoint=path), QUICK)
    assert train(lesson(checkpoint=path), QUICK).resumed_at > 0
    assert train(lesson(checkpoint=path), options(seed=2)).resumed_at == 0


def poisoned(where: int) -> Labelled:
    """Return samples of which one is infinite, so that a loss becomes NaN."""
    data = quarters()
    images: Array = data.feeds["x"].copy()
    images[where] = np.inf
    return dataclasses.replace(data, feeds={"x": images})


def test_a_loss_that_is_no_number_ends_it_with_the_last_good_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[float] = []
    real = loop.Loop._learn

    def learn(self: loop.Loop, *arguments: Any) -> float:
        begun.append(real(self, *arguments))
        return math.nan if len(begun) == 20 else begun[-1]

    monkeypatch.setattr(loop.Loop, "_learn", learn)
    found = train(lesson(), QUICK)
    assert found.stopped == "the loss is not a number in step 20"
    assert found.has_diverged
    assert found.best_epoch == 1
    assert top1(with_arrays(net(), found.arrays), TEST) > top1(net(), TEST) + 0.1


def test_a_loss_that_never_was_a_number_is_one_line() -> None:
    with pytest.raises(TrainingError, match=r"step .*lower --lr") as caught:
        train(Lesson(net(), poisoned(5)), options(norms="none", hold_out=0.0, epochs=1))
    assert "\n" not in str(caught.value)


def test_labels_are_asked_for_where_there_is_no_teacher() -> None:
    with pytest.raises(DataError, match=r"has no labels.*--teacher"):
        train(lesson(quarters(labelled=False)), QUICK)
    with pytest.raises(DataError, match="no labels for --label-weight"):
        train(lesson(quarters(labelled=False), teacher=net()), options(label_weight=0.5))


def test_labels_that_no_class_has_are_refused() -> None:
    data = quarters()
    assert data.labels is not None
    with pytest.raises(DataError, match="from 0 to 7, and the model has 4"):
        train(lesson(dataclasses.replace(data, labels=data.labels * 7 // 3)), QUICK)


def test_what_torch_is_not_given_is_named() -> None:
    model = named(NET.replace("r2 = Relu(a)", "r2 = Acos(a)"))
    with pytest.raises(ModelError, match="Acos"):
        train(Lesson(model, quarters()), QUICK)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_fixed_batch_axis_is_refused(count: int) -> None:
    head = NET.replace("f = Flatten(p)", "f = Reshape(p, to)")
    model = named(head.replace("<float[8", f"<int64[2] to = {{{count}, -1}}, float[8", 1))
    with pytest.raises(ModelError, match="dynamic batch axis"):
        train(Lesson(model, quarters()), QUICK)


def test_a_model_without_weights_is_refused() -> None:
    model = named(f"g (float[N,3,8,8] x) => (float y) <{weights('w', (8,))}> {{ y = Add(x, w) }}")
    with pytest.raises(ModelError, match="no weights"):
        train(Lesson(model, quarters()), QUICK)


def test_features_need_a_teacher() -> None:
    with pytest.raises(UsageError, match="give --teacher"):
        train(lesson(), options(features=("auto",)))


@pytest.mark.parametrize(
    "changes",
    [
        *({"epochs": -1}, {"batch": 0}, {"optimizer": "lbfgs"}, {"learning_rate": -1.0}),
        *({"temperature": 0.0}, {"label_weight": 2.0}, {"hold_out": 1.0}, {"seconds": 0.0}),
        *({"precision": "fp8"}, {"norms": "layer"}),
    ],
)
def test_options_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        options(**changes)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:99"])
def test_a_device_that_is_not_there_is_one_line(device: str) -> None:
    with pytest.raises((UsageError, HostError), match="device"):
        train(lesson(), options(device=device))
