"""Training on a real GPU, on the task of the other tests; what was seen is recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from bmopt.training.lesson import Lesson
from bmopt.training.parameters import with_arrays
from bmopt.training.train import train
from tests.training.lessons import QUICK, net, outputs, quarters, top1

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(120)]

Facts = Callable[[str, object], None]

COURSE = dataclasses.replace(QUICK, device="cuda")
TEST = quarters(200, seed=9)


@pytest.fixture(scope="module", autouse=True)
def _able() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_labels_are_learned(precision: str, record_property: Facts) -> None:
    found = train(Lesson(net(), quarters()), dataclasses.replace(COURSE, precision=precision))
    record_property("history", [dataclasses.asdict(epoch) for epoch in found.history])
    assert top1(with_arrays(net(), found.arrays), TEST) > 0.85


def test_a_gpu_is_taken_where_there_is_one() -> None:
    found = train(Lesson(net(), quarters()), dataclasses.replace(COURSE, device="auto", epochs=1))
    assert found.device == "cuda:0"


def test_a_course_goes_as_on_a_cpu(record_property: Facts) -> None:
    course = dataclasses.replace(COURSE, epochs=1)
    (_, gpu), (_, cpu) = (
        train(Lesson(net(), quarters()), dataclasses.replace(course, device=device)).history
        for device in ("cuda", "cpu")
    )
    record_property("losses", (gpu.loss, cpu.loss))
    assert gpu.loss == pytest.approx(cpu.loss, rel=0.02)


def test_a_teacher_is_learned_from_through_its_features() -> None:
    teacher = train(Lesson(net(), quarters()), COURSE)
    taught = with_arrays(net(), teacher.arrays)
    lesson = Lesson(net(), quarters(labelled=False), teacher=taught)
    found = train(lesson, dataclasses.replace(COURSE, features=("r1",)))
    student = with_arrays(net(), found.arrays)
    agreed = outputs(student, TEST).argmax(axis=1) == outputs(taught, TEST).argmax(axis=1)
    assert np.mean(agreed) > 0.85
