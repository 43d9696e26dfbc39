from __future__ import annotations

import dataclasses
import json

import pytest

from bmopt.core.absorption import AbsorptionPlan, Shift
from bmopt.errors import QuantizationError

SHIFT = Shift("r", "c", "k", ("d", "e"), 3.0)
PLAN = AbsorptionPlan("m" * 64, (SHIFT,), {"t": "is a graph output"})


def test_round_trip() -> None:
    assert AbsorptionPlan.from_json(PLAN.to_json()) == PLAN


def test_digest_depends_on_amounts_and_not_on_reasons() -> None:
    other = dataclasses.replace(SHIFT, amount=2.0)
    assert AbsorptionPlan(PLAN.model, (SHIFT,)).digest == PLAN.digest
    assert AbsorptionPlan(PLAN.model, (other,)).digest != PLAN.digest


def test_belongs_to_its_model() -> None:
    PLAN.require_model("m" * 64)
    with pytest.raises(QuantizationError, match="is for model mmmmmmmmmmmm, not for xxxxxxxxxxxx"):
        PLAN.require_model("x" * 64)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bmopt_absorption": 1}', '{"a": 1}'])
def test_other_text(text: str) -> None:
    with pytest.raises(QuantizationError, match=r"p\.json: is not an absorption plan"):
        AbsorptionPlan.from_json(text, source="p.json")


def test_another_version() -> None:
    document = {**json.loads(PLAN.to_json()), "bmopt_absorption": 99}
    with pytest.raises(QuantizationError, match="plan of another version"):
        AbsorptionPlan.from_json(json.dumps(document))


@pytest.mark.parametrize("amount", [float("inf"), float("nan")])
def test_amounts_are_finite(amount: float) -> None:
    with pytest.raises(QuantizationError, match="'r': its shift is not a finite number"):
        Shift("r", "c", "k", ("d",), amount)
