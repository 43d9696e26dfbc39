from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bmopt.calibration.toggles import toggles_of
from bmopt.core.latency_table import BorderLatency, GroupLatency, LatencyTable
from bmopt.core.plan import QuantPlan
from bmopt.core.scheme import FloatRules
from bmopt.errors import QuantizationError, UsageError
from bmopt.workflow import placing
from bmopt.workflow.contenders import Contenders
from bmopt.workflow.placing import Placed, choose_placement
from bmopt.workflow.quantizing import Quantizer
from bmopt.workflow.racing import Candidate, Race, winner
from tests.workflow.placing_jobs import small_job, warnings_of

RULES = FloatRules(prefix=1)


def made_up(quantizer: Quantizer, slow_in_int: set[str], border_ns: float = 1.0) -> LatencyTable:
    """Return a table in which integers are twice as fast but for ``slow_in_int``."""
    toggles = toggles_of(quantizer.model, quantizer.plan("minmax", FloatRules()), quantizer.scheme)
    groups = {
        name: GroupLatency(20.0, 40.0 if name in slow_in_int else 10.0, one.op, one.needs)
        for name, one in toggles.groups.items()
    }
    borders = {
        name: BorderLatency(border_ns, border_ns, one.writer, one.readers, one.read_in_float)
        for name, one in toggles.borders.items()
    }
    target, model = "ort-int8:x86-vnni", quantizer.table.model
    return LatencyTable(model, target, "a cpu", 1, groups, borders, 7.0)


def test_rules_of_the_user_and_of_the_target_are_taken_as_they_are(tmp_path: Path) -> None:
    job, quantizer = small_job(tmp_path, rules=RULES, placement="narrow_input=4")
    assert choose_placement(job, quantizer, "minmax") == Placed(rules=FloatRules(narrow_input=4))
    job, quantizer = small_job(tmp_path, rules=RULES, placement="rules")
    assert choose_placement(job, quantizer, "minmax") == Placed(rules=RULES)
    assert not warnings_of(job)


def test_without_time_the_rules_are_taken_and_that_is_said(tmp_path: Path) -> None:
    job, quantizer = small_job(tmp_path, rules=RULES, duration_s=0.0)
    assert choose_placement(job, quantizer, "minmax") == Placed(rules=RULES)
    assert any("placement was not measured" in line for line in warnings_of(job))


def test_a_target_that_cannot_run_here_takes_the_rules(tmp_path: Path) -> None:
    job, quantizer = small_job(tmp_path, rules=RULES)
    job = dataclasses.replace(job, able=dataclasses.replace(job.able, run=False))
    assert choose_placement(job, quantizer, "minmax") == Placed(rules=RULES)
    assert not warnings_of(job)


def test_a_placement_is_measured_once(tmp_path: Path) -> None:
    job, quantizer = small_job(tmp_path)
    placed = choose_placement(job, quantizer, "minmax")
    assert placed.table is not None
    assert set(placed.table.groups) == set(quantizer.plan("minmax", FloatRules()).integer)
    assert placed.ratios
    assert placed.rules == FloatRules()
    integer = quantizer.plan("minmax", FloatRules(), keep_float=placed.keep_float).integer
    if placed.pays:
        assert integer
        assert min(placed.ratios.values()) < 1.0
    else:
        assert integer == ()
        assert "no placement is faster" in placed.note
    assert choose_placement(job, quantizer, "minmax") == placed


def test_an_engine_without_profiles_races_what_rules_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_has_no_profile", lambda job, quantizer: True)
    job, quantizer = small_job(tmp_path, rules=RULES)
    placed = choose_placement(job, quantizer, "minmax")
    assert placed.table is None
    assert {"all", "prefix=1"} <= set(placed.ratios)
    assert not placed.keep_float or not placed.pays


def test_a_table_from_elsewhere_decides_alone(tmp_path: Path) -> None:
    _, quantizer = small_job(tmp_path)
    file = tmp_path / "table.json"
    file.write_text(made_up(quantizer, {"c1", "m1"}).to_json(), encoding="utf-8")
    job, quantizer = small_job(tmp_path, latency_table=str(file), duration_s=0.0)
    placed = choose_placement(job, quantizer, "minmax")
    assert placed.keep_float == ("c1",)  # the pool behind it follows
    assert placed.pays
    assert placed.ratios == {}
    assert "table.json predicts 0." in placed.note
    assert not warnings_of(job)
    integer = quantizer.plan("minmax", FloatRules(), keep_float=placed.keep_float).integer
    assert integer == ("c2", "c3", "a", "p", "f", "y")


def test_a_table_may_say_that_integers_do_not_pay(tmp_path: Path) -> None:
    _, quantizer = small_job(tmp_path)
    file = tmp_path / "table.json"
    table = made_up(quantizer, set(), border_ns=1000.0)
    file.write_text(table.to_json(), encoding="utf-8")
    job, quantizer = small_job(tmp_path, latency_table=str(file))
    placed = choose_placement(job, quantizer, "minmax")
    assert not placed.pays
    assert quantizer.plan("minmax", FloatRules(), keep_float=placed.keep_float).integer == ()


def test_a_table_of_another_target_is_said(tmp_path: Path) -> None:
    _, quantizer = small_job(tmp_path)
    file = tmp_path / "table.json"
    table = dataclasses.replace(made_up(quantizer, {"c1"}), target="ort-int8:arm64")
    file.write_text(table.to_json(), encoding="utf-8")
    job, quantizer = small_job(tmp_path, latency_table=str(file))
    choose_placement(job, quantizer, "minmax")
    assert any("was measured on ort-int8:arm64" in line for line in warnings_of(job))


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    _, quantizer = small_job(tmp_path)
    file = tmp_path / "table.json"
    document = json.loads(made_up(quantizer, set()).to_json())
    file.write_text(json.dumps({**document, "model": "n" * 64}), encoding="utf-8")
    job, quantizer = small_job(tmp_path, latency_table=str(file))
    with pytest.raises(QuantizationError, match="was measured on model nnnnnnnnnnnn"):
        choose_placement(job, quantizer, "minmax")
    job, quantizer = small_job(tmp_path, latency_table=str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match=r"none\.json: cannot be read"):
        choose_placement(job, quantizer, "minmax")


def test_a_table_and_rules_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out --placement all"):
        small_job(tmp_path, latency_table="table.json", placement="all")


def test_placements_go_through_text(tmp_path: Path) -> None:
    _, quantizer = small_job(tmp_path)
    placed = Placed(
        ("c1",), FloatRules(prefix=2), made_up(quantizer, {"c1"}), {"cut": 0.5}, False, "why"
    )
    assert Placed.from_json(placed.to_json()) == placed
    assert Placed.from_json(Placed().to_json()) == Placed()


def contenders(folder: Path, slow_in_int: set[str], **times: float) -> Contenders:
    _, quantizer = small_job(folder, rules=RULES)
    return Contenders(quantizer, "minmax", made_up(quantizer, slow_in_int, **times))


def test_the_field_has_all_the_cut_and_the_rules_and_no_two_alike(tmp_path: Path) -> None:
    field = contenders(tmp_path, {"c1"}).first(8)
    assert field[0].plan.integer == ("c1", "m1", "c2", "c3", "a", "p", "f", "y")
    assert field[1].name == "cut"
    assert field[1].keep_float == ("c1",)  # as the rules would have it
    assert ("c1", "c2") in [one.keep_float for one in field]
    assert len({one.plan.integer for one in field}) == len(field) <= 8
    assert field[1].predicted_ns == min(one.predicted_ns or 0.0 for one in field)


def test_neighbours_switch_one_product_at_the_edge_of_what_is_in_float(tmp_path: Path) -> None:
    made = contenders(tmp_path, {"c1"})
    leader = made.cut()
    assert leader.keep_float == ("c1",)
    found = {one.name: one.keep_float for one in made.neighbours(leader)}
    assert found["leader, c1 in integers"] == ()
    assert set(found["leader, c2 in float"]) == {"c1", "c2"}
    assert all(one.predicted_ns is not None for one in made.neighbours(leader))


def test_with_all_in_integers_the_edge_is_where_the_model_begins(tmp_path: Path) -> None:
    made = contenders(tmp_path, set())
    leader = made.cut()
    assert leader.keep_float == ()
    names = [one.name for one in made.neighbours(leader)]
    assert "leader, c1 in float" in names
    assert "leader, c2 in float" not in names


def test_a_race_times_candidates_beside_the_float_model(tmp_path: Path) -> None:
    job, quantizer = small_job(tmp_path)
    everything = quantizer.plan("minmax", FloatRules())
    nothing = quantizer.plan("minmax", FloatRules(), keep_float=everything.integer)
    with Race(quantizer, job.pool()) as race:
        entered = race.enter(
            [
                Candidate("all", everything),
                Candidate("all again", everything),
                Candidate("nothing", nothing),
            ]
        )
        assert [one.name for one in entered] == ["all"]
        assert race.heat([], 0.1) == []
        assert race.heat(entered, 0.2) == entered
        assert race.ratios["all"] > 0.0


def candidate(name: str, work: int) -> Candidate:
    plan = QuantPlan("m" * 64, "s", "minmax", {}, {}, (name,), (), (), {})
    return Candidate(name, plan, integer_work=work)


def test_the_winner_is_faster_than_float_and_has_the_most_integers_of_those_as_fast() -> None:
    ratios = {"few": 0.700, "more": 0.705, "most": 0.72, "slow": 1.2}
    field = [candidate(name, work) for name, work in zip(ratios, (1, 2, 3, 4), strict=True)]
    best = winner(field, ratios)
    assert best is not None
    assert best.name == "more"
    assert winner(field, {**ratios, "few": 0.9999, "more": 1.001, "most": 1.2}) is field[0]
    assert winner(field, dict.fromkeys(ratios, 1.0)) is None
