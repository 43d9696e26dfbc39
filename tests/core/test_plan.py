from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from bmopt.core.plan import ActivationQuant, QuantPlan, WeightQuant
from bmopt.errors import QuantizationError

PLAN = QuantPlan(
    model="a" * 64,
    scheme="x86-vnni",
    method="mse",
    activations={"x": ActivationQuant("uint8", 0.25, 3), "ä/1": ActivationQuant("int8", 1e-30, 0)},
    weights={
        "conv": WeightQuant(1, "int8", 0, (0.1, 0.2), 63, 2),
        "matmul": WeightQuant(1, "int8", None, (0.5,)),
    },
    integer=("conv", "matmul", "flatten"),
    folded=("relu",),
    moved=("flatten",),
    float_nodes={"gemm": "kept in float as asked"},
)


def test_a_plan_goes_through_json() -> None:
    again = QuantPlan.from_json(PLAN.to_json())
    assert again == PLAN
    assert again.to_json() == PLAN.to_json()
    assert hash(again.weights["conv"]) == hash(PLAN.weights["conv"])


def edited(**changes: Any) -> str:
    document = json.loads(PLAN.to_json())
    document.update(changes)
    return json.dumps({key: value for key, value in document.items() if value is not None})


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "null", '"plan"', "{}"),
        edited(bmopt_plan=99),
        edited(weights=None),
        edited(weights=[1]),
        edited(weights={"conv": {"input": 1}}),
        edited(weights={"conv": {"scales": 3}}),
        edited(activations={"x": {"dtype": "uint8", "scale": 1.0, "zero": 3}}),
        edited(integer=3),
        edited(surprise=1),
    ],
)
def test_another_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(QuantizationError, match=r"^plan\.json: ") as caught:
        QuantPlan.from_json(text, source="plan.json")
    assert "\n" not in str(caught.value)


def test_a_plan_knows_its_model() -> None:
    PLAN.require_model("a" * 64)
    with pytest.raises(QuantizationError, match="is for model aaaaaaaaaaaa, not for bbbbbbbbbbbb"):
        PLAN.require_model("b" * 64)


def test_a_plan_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAN.method = "minmax"  # type: ignore[misc]
