"""Integers that may contain unknown sizes: the items of shape arithmetic.

An item is a number or a ``Product``: a factor times symbols. Two axes with one name are one
symbol, as ONNX defines it. A symbol of an axis is never negative; an unknown element of a tensor
may be anything, and its symbol starts with ``?``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Product:
    """``factor`` times ``symbols`` (sorted, at least one)."""

    factor: int
    symbols: tuple[str, ...]


Item = int | Product
"""One element of a shape tensor, or one axis' size."""


def symbol(name: str) -> Product:
    """Return the item that stands for ``name``."""
    return Product(1, (name,))


def is_size(item: Item) -> bool:
    """Whether ``item`` can only be zero or more."""
    if isinstance(item, int):
        return item >= 0
    return item.factor >= 0 and not any(name.startswith("?") for name in item.symbols)


def is_named(item: Item) -> bool:
    """Whether ``item`` is made of numbers and of axes that have names."""
    return isinstance(item, int) or not set("@?") & set("".join(item.symbols))


def multiply(left: Item, right: Item) -> Item:
    """Return the product."""
    factors = [i if isinstance(i, int) else i.factor for i in (left, right)]
    names = [n for i in (left, right) if isinstance(i, Product) for n in i.symbols]
    factor = factors[0] * factors[1]
    return Product(factor, tuple(sorted(names))) if names and factor else factor


def multiply_all(items: Sequence[Item]) -> Item:
    """Return the product of ``items``; 1 where there are none."""
    total: Item = 1
    for item in items:
        total = multiply(total, item)
    return total


def divide(left: Item, right: Item) -> Item | None:
    """Return ``left / right`` as ONNX divides integers; None where it is not known."""
    if right == 0:
        return None
    if isinstance(left, int) and isinstance(right, int):
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    factor = left if isinstance(left, int) else left.factor
    by = right if isinstance(right, int) else right.factor
    rest = [] if isinstance(left, int) else list(left.symbols)
    for name in () if isinstance(right, int) else right.symbols:
        if name not in rest:
            return None
        rest.remove(name)
    if factor % by:
        return None
    return Product(factor // by, tuple(rest)) if rest else factor // by


def add(left: Item, right: Item) -> Item | None:
    """Return the sum; None where it is no product."""
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    if left == 0:
        return right
    if right == 0:
        return left
    if isinstance(left, Product) and isinstance(right, Product) and left.symbols == right.symbols:
        factor = left.factor + right.factor
        return Product(factor, left.symbols) if factor else 0
    return None


def is_equal(left: Item, right: Item) -> bool | None:
    """Return whether the two are the same number; None where it depends."""
    if left == right:
        return True
    if isinstance(left, int) and isinstance(right, int):
        return False
    number, other = (left, right) if isinstance(left, int) else (right, left)
    return False if isinstance(number, int) and number < 0 and is_size(other) else None


def write_target(target: Sequence[Item], data: Sequence[Item] | None) -> list[int] | None:
    """Return a constant second input for Reshape (``allowzero=0``) that means ``target``.

    A -1 stands for one unknown item, a 0 for an unknown item that is the data's size at the same
    position. None where that does not suffice.

    Args:
        target: The items of the computed target; -1 and 0 keep their meaning.
        data: The sizes of the data's axes, where its rank is known.
    """
    copied = [data is not None and i < len(data) and data[i] == t for i, t in enumerate(target)]
    unknown = [i for i, item in enumerate(target) if not isinstance(item, int)]
    written = [item if isinstance(item, int) else -1 for item in target]
    if len(unknown) + target.count(-1) <= 1:
        return written
    for index in unknown:
        written[index] = 0 if copied[index] else -1
    return written if written.count(-1) <= 1 else None
