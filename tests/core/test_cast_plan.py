from __future__ import annotations

import json
from typing import Any

import pytest

from bmopt.core.cast_plan import CastPlan
from bmopt.errors import QuantizationError

PLAN = CastPlan("a" * 64, "bfloat16", {"ä/1": "kept in float32 as asked"}, keep_io=False)


def test_a_plan_goes_through_json() -> None:
    again = CastPlan.from_json(PLAN.to_json())
    assert again == PLAN
    assert again.to_json() == PLAN.to_json()


def edited(**changes: Any) -> str:
    return json.dumps(json.loads(PLAN.to_json()) | changes)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "null", '"plan"', "{}"),
        edited(bmopt_cast_plan=99),
        edited(dtype="float8"),
        edited(float_nodes=["a"]),
        edited(float_nodes=None),
        edited(surprise=1),
    ],
)
def test_another_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(QuantizationError, match=r"^cast\.json: ") as caught:
        CastPlan.from_json(text, source="cast.json")
    assert "\n" not in str(caught.value)


def test_a_plan_knows_its_model() -> None:
    PLAN.require_model("a" * 64)
    with pytest.raises(QuantizationError, match="is for model aaaaaaaaaaaa, not for bbbbbbbbbbbb"):
        PLAN.require_model("b" * 64)
