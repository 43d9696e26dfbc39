"""Which branches can go as a whole."""

from __future__ import annotations

from bmopt.graph.channels.branches import Exit
from bmopt.graph.channels.counting import counts_of
from bmopt.graph.channels.groups import channels_of
from tests.calibration.pruning.nets import net
from tests.optimizer.literals import weights

WEIGHTS = (
    f"{weights('a', (4, 4, 1, 1))}, {weights('b', (8, 4, 1, 1))}, {weights('c', (4, 8, 1, 1))}, "
    f"{weights('d', (4, 4, 1, 1))}, {weights('row', (4, 1, 1))}, "
    f"{weights('b2', (8, 4, 1, 1))}, {weights('c2', (4, 8, 1, 1))}"
)


def exits(*nodes: str, outputs: str = "float[1,4,2,2] y") -> dict[str, tuple[Exit, ...]]:
    text = f"g (float[1,4,2,2] x) => ({outputs}) <{WEIGHTS}> {{ " + " ".join(nodes) + " }"
    return {group.name: group.exits for group in channels_of(net(text)).groups}


HEAD, INNER, TAIL = "s = Conv(x, a)", "h = Conv(s, b) r = Relu(h) t = Conv(r, c)", "y = Conv(z, d)"


def test_a_residual_block_can_go() -> None:
    assert exits(HEAD, INNER, "z = Add(t, s)", TAIL) == {
        "s": (), "h": (Exit("z", 1),), "y": (),
    }  # fmt: skip
    assert exits(HEAD, INNER, "z = Add(s, t)", TAIL)["h"] == (Exit("z", 0),)


def test_what_makes_constants_of_constants_may_lie_in_between() -> None:
    assert exits(HEAD, INNER, "m = Mul(t, row) n = Tanh(m) z = Add(n, s)", TAIL)["h"]


def test_what_is_not_added_to_something_else_of_its_shape_stays() -> None:
    for end in (
        "z = Mul(t, s)",
        "z = Add(t, t)",
        "z = Add(t, row)",
        "p = GlobalAveragePool(s) z = Add(t, p)",
        "u = GlobalAveragePool(t) z = Add(u, s)",
        "q = Conv(r, c) z = Add(t, q)",  # all of it comes from the branch
    ):
        assert not exits(HEAD, INNER, end, TAIL)["h"], end
    also = "float[1,4,2,2] y, float[1,4,2,2] t"
    assert not exits(HEAD, INNER, "z = Add(t, s)", TAIL, outputs=also)["h"]


def test_a_block_whose_inside_something_else_reads_stays() -> None:
    assert not exits(HEAD, INNER, "m = Add(t, s) e = Conv(r, c) z = Mul(m, e)", TAIL)["h"]


def test_of_two_branches_that_are_added_to_each_other_one_can_go() -> None:
    other = "h2 = Conv(s, b2) t2 = Conv(h2, c2)"
    found = exits(HEAD, INNER, other, "z = Add(t, t2)", TAIL)
    assert found["h"] == (Exit("z", 1),)
    assert not found["h2"]


def test_what_is_on_a_branch_counts_nothing_when_it_is_gone() -> None:
    text = f"g (float[1,4,2,2] x) => (float[1,4,2,2] y) <{WEIGHTS}> "
    model = net(f"{text}{{ {HEAD} {INNER} m = Mul(t, row) z = Add(m, s) {TAIL} }}")
    counts = counts_of(model, channels_of(model))
    assert counts.node_macs({"h": 0})["t"] == 0.0
    assert counts.parameters({}) == 16 + 32 + 32 + 16 + 4 + 64
    assert counts.parameters({"h": 1}) == 16 + 4 + 4 + 16 + 4 + 64
    assert counts.parameters({"h": 0}) == 16 + 16 + 64
