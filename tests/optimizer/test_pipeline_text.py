from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir
import pytest

from bmopt.errors import PassError
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.pipeline import Pipeline
from bmopt.optimizer.pipeline_text import Repeat, parse_steps, pass_text
from bmopt.optimizer.presets import PRESETS
from tests.optimizer.sample_passes import DropIdentity, Lossy, Options, Touch

pytestmark = pytest.mark.usefixtures("sample_names")


@pytest.mark.parametrize(
    "text",
    [
        "drop-identity",
        "drop-identity,touch",
        "touch{mark=y}",
        "options{count=7,ratio=0.25,keep=true,label=word,axes=[1,-2],names=[],cap=4}",
        'options{label="two words, {and} a \\"quote\\""}',
        'options{label="none"}',
        "repeat(drop-identity,touch)",
        "touch,repeat{limit=3}(drop-identity,repeat(touch{mark=z})),options{ratio=1e-05}",
        "needy{limit=1048576}",
    ],
)
def test_text_round_trips(text: str) -> None:
    pipeline = Pipeline.parse(text)
    assert str(pipeline) == text
    assert Pipeline.parse(str(pipeline)) == pipeline


def test_options_get_the_types_of_their_fields() -> None:
    (step,) = parse_steps(
        "options { count = 7, ratio=2, keep=True, label=5, axes=[0,1], names=x, cap=none }"
    )
    assert step == Options(count=7, ratio=2.0, keep=True, label="5", axes=(0, 1), names=("x",))
    assert isinstance(step, Options)
    assert isinstance(step.ratio, float)
    assert step.cap is None


def test_hyphens_and_underscores_in_option_names_are_the_same() -> None:
    @dataclasses.dataclass(frozen=True)
    class Sized(Touch):
        size_limit: int = 1

    assert pass_text(Sized(size_limit=2)) == "touch{size_limit=2}"


def test_default_options_are_not_printed() -> None:
    assert str(Pipeline((Options(), Options(cap=None), Repeat((Touch(),))))) == (
        "options,options,repeat(touch)"
    )


def test_a_plan_is_shown_but_not_read() -> None:
    @dataclasses.dataclass(frozen=True)
    class Plan:
        size: int = 1

    @dataclasses.dataclass(frozen=True)
    class Apply(Pass):
        name: ClassVar[str] = "apply"
        plan: Plan

        def call(self, model: ir.Model) -> Outcome:
            return Outcome(model, modified=False)

    assert pass_text(Apply(Plan())) == "apply{plan=<Plan>}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a pass, found the end"),
        ("touch,", "expected a pass, found the end"),
        ("touch touch", "expected a comma or the end, found 'touch'"),
        ("touch{mark}", "expected '=', found '}'"),
        ("touch{mark=y", "expected ',', found the end"),
        ("touch{=y}", "expected an option"),
        ('touch{mark="y}', "cannot read"),
        ("repeat(touch", "expected ')', found the end"),
        ("repeat()", "expected a pass"),
        ("repeat{limit=x}(touch)", "repeat{...} has one option"),
        ("repeat{limit=0}(touch)", "limit of 1 or more"),
        ("repeat(lossy)", "lossy pass 'lossy' cannot stand in repeat"),
        ("fold-constant", "unknown pass 'fold-constant'; did you mean fold-constants"),
        ("options{ratios=1}", "no option 'ratios'; did you mean ratio"),
        ("drop-identity{x=1}", "has no options"),
        ("options{count=many}", "must be of type int, not 'many'"),
        ("options{keep=maybe}", "must be true or false"),
        ("options{ratio=[1,2]}", "takes one value, not a list"),
        ("options{axes=[1,b]}", "must be of type int, not 'b'"),
        ("needy", "needs the option 'limit'"),
    ],
)
def test_bad_text_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(PassError) as caught:
        Pipeline.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_group_refuses_lossy_passes_from_python_too() -> None:
    with pytest.raises(PassError):
        Repeat((DropIdentity(), Lossy()))


def test_pipelines_are_values() -> None:
    assert Pipeline.parse("touch{mark=y}") == Pipeline((Touch("y"),))
    assert hash(Pipeline.parse("repeat(touch)")) == hash(Pipeline((Repeat((Touch(),)),)))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_expand_and_round_trip(name: str) -> None:
    pipeline = Pipeline.parse(f"touch,{name}")
    assert str(pipeline) == f"touch,{PRESETS[name]}"
    assert Pipeline.parse(str(pipeline)) == pipeline
