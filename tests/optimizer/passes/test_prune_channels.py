from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmopt.core.prune_plan import PrunePlan
from bmopt.errors import PassError, PruningError
from bmopt.graph.model_digest import model_digest
from bmopt.optimizer.passes.prune_channels import PruneChannels
from bmopt.optimizer.pipeline_text import parse_steps, pass_text, passes_of
from tests.rewriting import parse, structure

BEFORE = """
g (float[N,1,2,2] x) => (float[N,1,2,2] y)
<float[4,1,1,1] a = {3,-1,2,-4}, float[4] b = {1,2,3,4}, float[1,4,1,1] c = {5,6,7,8}>
{ p = Conv(x, a, b)
  r = Relu(p)
  y = Conv(r, c) }"""

AFTER = """
g (float[N,1,2,2] x) => (float[N,1,2,2] y)
<float[2,1,1,1] a = {3,-4}, float[2] b = {1,4}, float[1,2,1,1] c = {5,8}>
{ p = Conv(x, a, b)
  r = Relu(p)
  y = Conv(r, c) }"""


def test_half_of_the_channels_with_the_smallest_weights_go() -> None:
    model = parse(BEFORE)
    outcome = PruneChannels(ratio=0.5)(model)
    assert outcome.modified
    assert structure(model) == structure(parse(AFTER))
    assert [str(one.reason) for one in outcome.refusals] == ["it is in the output 'y'"]
    assert not PruneChannels(ratio=0.5)(model).modified


def test_what_is_left_is_a_multiple() -> None:
    model = parse(BEFORE)
    PruneChannels(ratio=0.3, multiple=4)(model)
    assert structure(model) == structure(parse(BEFORE))
    PruneChannels(ratio=0.6, multiple=2)(model)
    assert structure(model) == structure(parse(AFTER))


def test_a_plan_is_applied_and_survives_its_file(tmp_path: Path) -> None:
    model = parse(BEFORE)
    plan = PrunePlan(model_digest(model), {"node_Conv_0": (1, 2)}, {"node_Conv_0": 4})
    name = next(iter(model.graph)).name
    plan = PrunePlan(plan.model, {str(name): (1, 2)}, {str(name): 4})
    file = tmp_path / "prune.json"
    file.write_text(plan.to_json())
    assert PrunePlan.from_json(file.read_text()) == plan
    assert '"removed": [ 1, 2 ]' in plan.to_json()
    PruneChannels(plan=str(file))(model)
    assert structure(model) == structure(parse(AFTER))
    with pytest.raises(PruningError, match="the prune plan is for model"):
        PruneChannels(plan=plan)(parse(BEFORE.replace("5,6", "6,5")))


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"bmopt_prune_plan": 9}', '{"bmopt_prune_plan": 1, "groups": 3}']
)
def test_a_file_that_is_no_plan(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(text)
    with pytest.raises(PruningError, match=r"plan\.json: "):
        PruneChannels(plan=str(file))(parse(BEFORE))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prune-channels", "a ratio above 0 and below 1"),
        ("prune-channels{ratio=1.5}", "a ratio above 0 and below 1"),
        ("prune-channels{ratio=0.5,norm=l7}", "unknown norm 'l7'"),
        ("prune-channels{ratio=0.5,multiple=0}", "multiple is 0"),
    ],
)
def test_bad_options(text: str, message: str) -> None:
    with pytest.raises(PassError, match=message):
        tuple(passes_of(parse_steps(text)))


def test_the_text_of_a_pipeline_round_trips() -> None:
    (one,) = passes_of(parse_steps("prune-channels{ratio=0.25}"))
    assert isinstance(one, PruneChannels)
    assert np.isclose(one.ratio, 0.25)
    assert pass_text(one) == "prune-channels{ratio=0.25}"
