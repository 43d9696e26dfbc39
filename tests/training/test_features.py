from __future__ import annotations

import pytest

from bmopt.errors import UsageError
from bmopt.training.features import distance, features_of
from tests.quantizing import named
from tests.training.lessons import net

torch = pytest.importorskip("torch")


def test_auto_takes_the_ends_of_residual_blocks() -> None:
    assert features_of(net(), net(), ["auto"]) == ("r2",)


def test_names_and_globs_are_taken_in_graph_order() -> None:
    assert features_of(net(), net(), ["r2", "c*"]) == ("c1", "c2", "r2")


def test_without_residual_blocks_activations_are_taken() -> None:
    model = named("g (float[N,4] x) => (float[N,4] y) { a = Relu(x) b = Neg(a) y = Relu(b) }")
    assert features_of(model, model, ["auto"]) == ("a", "y")


def test_a_name_that_is_not_in_both_is_refused() -> None:
    other = named("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    with pytest.raises(UsageError, match=r"'r2'.*in common"):
        features_of(net(), other, ["r2"])


def test_maps_with_other_channels_are_compared_by_where_they_are_strong() -> None:
    rng = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 6, 4, 4, generator=rng)
    cut = maps[:, ::2].repeat(1, 1, 1, 1)
    doubled = torch.cat([cut, cut], dim=1)
    assert float(distance(cut, 3 * doubled)) == pytest.approx(0, abs=1e-6)
    assert float(distance(cut, maps.flip(-1))) > 0.01


def test_what_cannot_be_compared_is_left_out() -> None:
    assert distance(torch.zeros(2, 3), torch.zeros(2, 4)) is None
