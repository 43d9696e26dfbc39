"""Weights that were made sparse stay so when they are refined and quantised."""

from __future__ import annotations

import pytest

from bmopt.graph.sparsity import has_two_four, sparsity_of
from bmopt.optimizer.passes.sparsify import Sparsify
from tests.calibration.sequence.cases import SCHEMES, Case
from tests.quantizing import CONV_NET, named


@pytest.mark.parametrize("side", SCHEMES)
def test_zeros_stay_where_they_are(side: str) -> None:
    model = named(CONV_NET)
    Sparsify(least_inputs=8)(model)
    case = Case.of(model, SCHEMES[side])
    found = case.refined()
    refined = case.applied(found)
    assert {one.node for one in sparsity_of(refined) if "2:4" in one.patterns} == {"c1", "c2", "y"}
    assert has_two_four(refined)
    if side == "outputs":
        assert any("least-squares" in layer.steps for layer in found.layers)
    plain = Case.of(named(CONV_NET), SCHEMES[side])
    assert not has_two_four(plain.applied(plain.refined()))
