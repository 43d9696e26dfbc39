from __future__ import annotations

import pytest

from bmopt.calibration.learned.cutting import Unit, cut_blocks, split_alone
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, named

INITS = ", ".join(weights(name, (4, 4, 1, 1)) for name in "uvw")


def blocks(body: str, products: str) -> list[tuple[str, ...]]:
    model = named(f"g (float[N,4,8,8] x) => (float y) <{INITS}> {{ {body} }}")
    return [unit.nodes for unit in cut_blocks(model.graph, products.split())]


def test_a_residual_block_is_one_and_the_head_another() -> None:
    model = named(CONV_NET)
    cut = cut_blocks(model.graph, ["c1", "c2", "c3", "y"])
    assert [unit.nodes for unit in cut] == [
        ("c1", "r1", "m1", "c2"),
        ("c3", "a", "r2", "p", "f"),
        ("y",),
    ]
    assert [unit.products for unit in cut] == [("c1", "c2"), ("c3",), ("y",)]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (7, [3, 3, 1])]
)
def test_products_in_a_row_make_blocks_of_three(count: int, sizes: list[int]) -> None:
    names = [*(f"c{i}" for i in range(count - 1)), "y"]
    sources = ["x", *names]
    body = " ".join(f"{n} = Conv({s}, w)" for n, s in zip(names, sources, strict=False))
    assert [len(block) for block in blocks(body, " ".join(names))] == sizes


def test_what_follows_a_product_is_in_its_block() -> None:
    body = "c = Conv(x, w) r = Relu(c) d = Conv(r, v) e = Add(d, r) s = Relu(e) y = Conv(s, u)"
    assert blocks(body, "c d y") == [("c", "r"), ("d", "e", "s"), ("y",)]


def test_the_last_block_ends_with_its_activation() -> None:
    body = "c = Conv(x, w) r = Relu(c) p = Sigmoid(r) y = Tanh(p)"
    assert blocks(body, "c") == [("c", "r")]


def test_a_block_with_two_products_beside_a_skip_is_one() -> None:
    body = "c = Conv(x, w) r = Relu(c) d = Conv(r, v) e = Conv(d, u) f = Add(e, r) y = Conv(f, u)"
    assert blocks(body, "c d e y") == [("c", "r"), ("d", "e", "f"), ("y",)]


def test_many_products_without_a_cut_are_split() -> None:
    names = [f"c{i}" for i in range(9)]
    sources = ["x", *names]
    body = " ".join(f"{n} = Conv({s}, w)" for n, s in zip(names, sources, strict=False))
    found = blocks(f"{body} y = Add(c8, x)", " ".join(names))
    assert [len(block) for block in found] == [3, 3, 3]


def test_no_product_is_no_block() -> None:
    assert blocks("y = Relu(x)", "") == []


def test_a_split_block_has_one_product_a_unit() -> None:
    whole = Unit(("r", "c", "s", "d"), ("c", "d"))
    assert split_alone(whole, ("Mod",)) == [
        Unit(("r",), ()),
        Unit(("c", "s"), ("c",), ("Mod",)),
        Unit(("d",), ("d",), ("Mod",)),
    ]
