from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.errors import ModelError, PassError
from bmopt.optimizer.equivalence import Equivalence
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.pass_log import PassRecord
from bmopt.optimizer.pipeline import Pipeline, PipelineResult
from bmopt.optimizer.pipeline_text import Repeat, Step
from tests.engine import PlainRunner
from tests.optimizer.sample_passes import (
    DropIdentity,
    EngineRefuses,
    Invalid,
    Lossy,
    Needy,
    Raises,
    Touch,
    WrongAttribute,
    WrongForLarge,
)
from tests.rewriting import parse, structure

TEXT = """
g (float[N, 4] x) => (float[N, 4] y)
<float[4, 4] w = {1,2,3,4, 5,6,7,8, 1,2,3,4, 5,6,7,8}> {
    i = Identity(x)
    a = Abs(i)
    j = Identity(a)
    l = LeakyRelu<alpha = 0.1>(i)
    s = Add(j, l)
    t = Neg(s)
    y = MatMul(t, w)
}
"""


def _model() -> ir.Model:
    return parse(TEXT)


def _run(*steps: Step, model: ir.Model | None = None) -> PipelineResult:
    model = model or _model()
    return Pipeline(steps).run(model, verify=Equivalence.seeded(PlainRunner, model))


def test_runs_passes_and_leaves_the_source_alone() -> None:
    model = _model()
    model.meta["kept"] = "yes"
    before = structure(model)
    result = _run(DropIdentity(), Touch(), model=model)
    assert structure(model) == before
    assert "x" not in model.metadata_props
    assert result.model.metadata_props["x"] == "1"
    assert result.model.meta["kept"] == "yes"
    assert [(r.name, r.modified) for r in result.log.records] == [
        ("drop-identity", True),
        ("touch", True),
    ]
    assert (result.log.records[0].nodes_before, result.log.records[0].nodes_after) == (7, 6)
    assert result.log.verification.verdict == "equivalent"
    assert "2 feeds" in result.log.verification.reason
    assert result.log.seconds < result.log.verification.seconds
    assert result.log.modified
    assert result.log.rollbacks == ()


def test_a_group_runs_to_a_fixed_point_and_skips_what_has_nothing_new_to_see() -> None:
    result = _run(Repeat((DropIdentity(), Touch())))
    assert [n.op_type for n in result.model.graph].count("Identity") == 0
    names = [record.name for record in result.log.records]
    assert names == ["drop-identity", "touch", "drop-identity", "touch"]


def test_a_group_stops_at_its_limit() -> None:
    result = _run(Repeat((DropIdentity(),), limit=1))
    assert [n.op_type for n in result.model.graph].count("Identity") == 1


def test_by_pass_adds_runs_up() -> None:
    log = _run(Repeat((DropIdentity(), Touch()))).log
    first, second = log.by_pass()
    assert (first.name, first.nodes_before - first.nodes_after) == ("drop-identity", 2)
    assert (second.name, second.nodes_before - second.nodes_after) == ("touch", 0)
    assert first.seconds + second.seconds == pytest.approx(log.seconds)


def test_refusals_are_in_the_log() -> None:
    (record,) = _run(Needy(1)).log.records
    assert record.refusals == (Refusal("n", "is needy"),)


def test_a_wrong_pass_is_named_with_the_first_differing_tensor_and_rolled_back() -> None:
    result = _run(DropIdentity(), WrongAttribute(), Touch())
    (rollback,) = result.log.rollbacks
    assert rollback.name == "wrong-attribute"
    assert rollback.reason.startswith("changed the results (output tensor 'y'")
    assert rollback.difference is not None
    assert rollback.difference.tensor == "l"
    assert 0 < rollback.difference.max_rel < 1
    assert "tensor 'l'" in str(rollback)
    leaky = next(n for n in result.model.graph if n.op_type == "LeakyRelu")
    assert leaky.attributes["alpha"].as_float() == pytest.approx(0.1)
    assert [record.name for record in result.log.records] == ["drop-identity", "touch"]
    assert result.log.verification.verdict == "equivalent"


def test_a_raising_pass_is_rolled_back_in_one_line() -> None:
    result = _run(DropIdentity(), Raises(), Touch())
    (rollback,) = result.log.rollbacks
    assert (rollback.name, rollback.reason) == ("raises", "raised ValueError: half way through")
    assert "x" in result.model.metadata_props
    assert len(list(result.model.graph)) == 6


def test_an_invalid_model_is_rolled_back_without_verification_too() -> None:
    result = Pipeline((DropIdentity(), Invalid(), Touch())).run(_model())
    (rollback,) = result.log.rollbacks
    assert rollback.name == "invalid"
    assert rollback.reason.startswith("made an invalid model (ValidationError: No Op registered")
    assert result.log.verification.verdict == "not verified"
    assert len(list(result.model.graph)) == 6


def test_a_model_that_only_the_engine_refuses_is_rolled_back() -> None:
    result = _run(EngineRefuses(), DropIdentity())
    (rollback,) = result.log.rollbacks
    assert rollback.name == "engine-refuses"
    assert "the engine refuses" in rollback.reason


@pytest.mark.parametrize("bad", [(0, 1), (0, 4), (1, 3), (3, 4)])
def test_two_bad_passes_of_five_are_both_found(bad: tuple[int, int]) -> None:
    wrong: list[Pass] = [WrongAttribute(), Invalid()]
    passes: list[Pass] = [Touch(str(i)) for i in range(5)]
    for position, rewrite in zip(bad, wrong, strict=True):
        passes[position] = rewrite
    result = _run(*passes)
    assert {r.name for r in result.log.rollbacks} == {"wrong-attribute", "invalid"}
    kept = {str(i) for i in range(5)} - {str(i) for i in bad}
    assert kept <= set(result.model.metadata_props)
    assert len(list(result.model.graph)) == 7


def test_a_wrong_pass_inside_a_group_is_found() -> None:
    result = _run(Repeat((DropIdentity(), WrongAttribute(), Touch())))
    assert [r.name for r in result.log.rollbacks] == ["wrong-attribute"]
    assert "Identity" not in {n.op_type for n in result.model.graph}


def test_samples_catch_a_pass_that_is_wrong_only_for_one_input() -> None:
    model = _model()
    quiet = Equivalence.seeded(PlainRunner, model)
    sample = {"x": np.full((1, 4), 20, np.float32)}
    wary = Equivalence.seeded(PlainRunner, model, samples=[sample])
    pipeline = Pipeline((WrongForLarge(), DropIdentity()))
    assert pipeline.run(model, verify=quiet).log.rollbacks == ()
    (rollback,) = pipeline.run(model, verify=wary).log.rollbacks
    assert rollback.name == "wrong-for-large"
    assert rollback.difference is not None
    assert rollback.difference.tensor == "j"
    assert rollback.difference.max_abs == pytest.approx(12)


def test_lossy_passes_split_stretches_and_are_not_compared() -> None:
    result = _run(DropIdentity(), Lossy(), Touch(), WrongForLarge())
    assert result.log.rollbacks == ()
    leaky = next(n for n in result.model.graph if n.op_type == "LeakyRelu")
    assert leaky.attributes["alpha"].as_float() == 0.5
    assert result.log.verification.verdict == "equivalent"


def test_a_banned_pass_stays_out_of_later_stretches() -> None:
    result = _run(Raises(), Lossy(), Raises(), Touch())
    assert [r.name for r in result.log.rollbacks] == ["raises"]


def test_a_lossy_pass_that_refuses_is_an_error() -> None:
    @dataclasses.dataclass(frozen=True)
    class Strict(Lossy):
        def call(self, model: ir.Model) -> Outcome:
            raise PassError("the plan is for another model")

    with pytest.raises(PassError, match="another model"):
        _run(Strict())


def test_a_model_that_does_not_run_is_reported_not_failed() -> None:
    model = _model()
    feeds = {"x": np.zeros((1, 5), np.float32)}
    result = Pipeline((DropIdentity(),)).run(model, verify=Equivalence(PlainRunner, (feeds,)))
    assert result.log.verification.verdict == "not verified"
    assert result.log.verification.reason.startswith("the original model does not run")
    assert len(list(result.model.graph)) == 6


def test_an_engine_that_opens_nothing_is_reported_not_failed() -> None:
    def refuse(model: ir.Model) -> PlainRunner:
        raise ModelError("no such engine")

    feeds = {"x": np.zeros((1, 4), np.float32)}
    result = Pipeline((DropIdentity(),)).run(_model(), verify=Equivalence(refuse, (feeds,)))
    assert result.log.verification.reason == "the original model does not open: no such engine"


def test_on_pass_sees_each_run_with_its_model() -> None:
    seen: list[tuple[str, int]] = []

    def note(record: PassRecord, model: ir.Model) -> None:
        seen.append((record.name, len(list(model.graph))))

    Pipeline((DropIdentity(), Touch())).run(_model(), on_pass=note)
    assert seen == [("drop-identity", 6), ("touch", 6)]


def test_a_frozen_dynamic_axis_is_noticed() -> None:
    @dataclasses.dataclass(frozen=True)
    class Freeze(Touch):
        def call(self, model: ir.Model) -> Outcome:
            model.graph.inputs[0].shape = ir.Shape([1, 4])
            return super().call(model)

    (rollback,) = _run(Freeze()).log.rollbacks
    assert "the engine refuses" in rollback.reason
    assert rollback.difference is None or math.isfinite(rollback.difference.max_abs)
