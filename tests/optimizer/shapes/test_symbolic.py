from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bmopt.optimizer.shapes.symbolic import (
    Item,
    Product,
    add,
    divide,
    is_equal,
    is_size,
    multiply,
    multiply_all,
    symbol,
    write_target,
)

_SIZES = {"N": 3, "M": 5, "K": 7}
_items = st.one_of(
    st.integers(-6, 6),
    st.builds(
        Product,
        st.integers(-4, 4).filter(bool),
        st.lists(st.sampled_from(sorted(_SIZES)), min_size=1, max_size=3).map(
            lambda names: tuple(sorted(names))
        ),
    ),
)


def _value(item: Item) -> int:
    if isinstance(item, int):
        return item
    return item.factor * math.prod(_SIZES[name] for name in item.symbols)


@given(_items, _items)
def test_arithmetic_agrees_with_numbers(left: Item, right: Item) -> None:
    a, b = _value(left), _value(right)
    assert _value(multiply(left, right)) == a * b
    total, quotient, same = add(left, right), divide(left, right), is_equal(left, right)
    assert total is None or _value(total) == a + b
    assert quotient is None or (b != 0 and _value(quotient) == int(a / b))
    assert same is None or same == (a == b)
    assert not is_size(left) or a >= 0


def test_what_is_not_known_is_none() -> None:
    n, m = symbol("N"), symbol("M")
    assert add(n, 1) is None
    assert divide(n, 2) is None
    assert divide(n, m) is None
    assert divide(4, 0) is None
    assert is_equal(n, 4) is None
    assert is_equal(n, -1) is False
    assert is_equal(symbol("?x"), -1) is None


def test_products_cancel() -> None:
    n = symbol("N")
    assert divide(multiply_all([n, 3, 4]), multiply(n, 4)) == 3
    assert divide(multiply_all([n, 3, 4]), 12) == n


def test_a_target_is_written_with_one_open_axis_or_copies() -> None:
    n, m = symbol("N"), symbol("M")
    assert write_target([n, 12], [n, 3, 4]) == [-1, 12]
    assert write_target([n, m, 12], [n, m, 3, 4]) == [0, 0, 12]
    assert write_target([n, -1, 12], [n, 3, 4]) == [0, -1, 12]
    assert write_target([m, n], [n, m]) is None
    assert write_target([m, n], None) is None
