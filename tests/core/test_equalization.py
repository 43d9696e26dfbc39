from __future__ import annotations

import json

import pytest

from bmopt.core.equalization import ChannelScaling, EqualizationPlan
from bmopt.errors import QuantizationError

SCALING = ChannelScaling("r", 1, (0.5, 1.0, 2.25), ("c",), ("d", "e"))
PLAN = EqualizationPlan("m" * 64, (SCALING,), {"t": "is a graph output"})


def test_round_trip() -> None:
    assert EqualizationPlan.from_json(PLAN.to_json()) == PLAN


def test_digest_depends_on_factors_and_not_on_reasons() -> None:
    other = ChannelScaling("r", 1, (0.5, 1.0, 2.0), ("c",), ("d", "e"))
    assert EqualizationPlan(PLAN.model, (SCALING,)).digest == PLAN.digest
    assert EqualizationPlan(PLAN.model, (other,)).digest != PLAN.digest


def test_belongs_to_its_model() -> None:
    PLAN.require_model("m" * 64)
    with pytest.raises(QuantizationError, match="is for model mmmmmmmmmmmm, not for xxxxxxxxxxxx"):
        PLAN.require_model("x" * 64)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bmopt_equalization": 1}', '{"a": 1}'])
def test_other_text(text: str) -> None:
    with pytest.raises(QuantizationError, match=r"p\.json: is not an equalisation plan"):
        EqualizationPlan.from_json(text, source="p.json")


def test_another_version() -> None:
    document = {**json.loads(PLAN.to_json()), "bmopt_equalization": 99}
    with pytest.raises(QuantizationError, match="plan of another version"):
        EqualizationPlan.from_json(json.dumps(document))


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_factors_are_positive(factor: float) -> None:
    with pytest.raises(QuantizationError, match="'r': a factor"):
        ChannelScaling("r", 1, (1.0, factor), ("c",), ("d",))
