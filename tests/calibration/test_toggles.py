from __future__ import annotations

from bmopt.calibration.plan import make_plan
from bmopt.calibration.toggles import Toggles, toggles_of
from tests.quantizing import CONV_NET, named, scheme, table_of


def toggles(text: str = CONV_NET, keep_float: tuple[str, ...] = ()) -> Toggles:
    model = named(text)
    plan = make_plan(model, table_of(model), scheme(), keep_float=keep_float)
    return toggles_of(model, plan, scheme())


def test_every_node_with_an_integer_kernel_is_a_group_with_its_activation() -> None:
    groups = toggles().groups
    assert list(groups) == ["c1", "m1", "c2", "c3", "a", "p", "f", "y"]
    assert groups["c1"].members == ("c1", "r1")
    assert groups["c1"].output == "r1"
    assert groups["a"].members == ("a", "r2")
    assert groups["m1"].members == ("m1",)
    assert groups["c1"].work == 16 * 8 * 3 * 3
    assert groups["m1"].work == groups["a"].work == 0


def test_a_node_kept_in_float_is_no_group() -> None:
    assert "c1" not in toggles(keep_float=("c1",)).groups


def test_borders_are_the_tensors_between_groups() -> None:
    borders = toggles().borders
    assert list(borders) == ["x", "r1", "m1", "c2", "c3", "r2", "p", "f", "y"]
    assert (borders["x"].writer, borders["x"].readers) == ("", ("c1",))
    assert (borders["r1"].writer, borders["r1"].readers) == ("c1", ("m1",))
    assert borders["c2"].readers == ("c3", "a")
    assert [name for name, one in borders.items() if one.read_in_float] == ["y"]


def test_what_only_follows_needs_what_it_reads() -> None:
    groups = toggles().groups
    assert groups["m1"].needs == ("c1",)
    assert groups["p"].needs == ("a",)
    # `c2` is there in integers for `c3` too, so that `a` needs none of the two.
    assert groups["a"].needs == ("c3",)
    assert groups["c2"].needs == ()


def test_a_border_is_crossed_where_sides_differ() -> None:
    borders = toggles().borders
    assert borders["x"].quantizes({"c1"})
    assert not borders["x"].quantizes(set())
    assert borders["c2"].quantizes({"c3"})
    assert not borders["c2"].quantizes({"c2", "c3"})
    assert borders["c2"].dequantizes({"c2", "c3"})
    assert not borders["c2"].dequantizes({"c2", "c3", "a"})
    assert borders["y"].dequantizes({"y"})
