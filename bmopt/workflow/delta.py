"""Find a small part of a sequence that still fails: bisection, then delta debugging.

Bisection needs about log2(n) trials and is right where a longer piece fails if a shorter one
does; delta debugging assumes nothing and ends with a part of which no single item can be spared
(Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002; here by
complements alone, which keep what is left as connected as it can be).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Fails = Callable[[Sequence[str]], bool]
"""Tries a part of the items and says whether it fails."""


def failing_prefix(items: Sequence[str], fails: Fails) -> list[str]:
    """Return a prefix of ``items`` that fails, while the one shorter by one item does not.

    ``items`` as a whole fails, and is not tried.
    """
    passing, failing = 0, len(items)
    while failing - passing > 1:
        middle = (passing + failing) // 2
        if fails(items[:middle]):
            failing = middle
        else:
            passing = middle
    return list(items[:failing])


def failing_suffix(items: Sequence[str], fails: Fails) -> list[str]:
    """Return a suffix of ``items`` that fails, while the one shorter by one item does not."""
    backwards = failing_prefix(items[::-1], lambda part: fails(part[::-1]))
    return backwards[::-1]


def minimal(
    items: Sequence[str], fails: Fails, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Return items that fail, of which none can be left out; the order stays.

    ``items`` as a whole fails, and is not tried. ``progress`` is told (items looked at, items
    left) of each sweep.
    """
    left = list(items)
    size = max(1, len(left) // 2)
    while True:
        before, start = len(left), 0
        while start < len(left):
            if progress is not None:
                progress(start, len(left))
            rest = left[:start] + left[start + size :]
            if rest and fails(rest):
                left = rest
            else:
                start += size
        if size == 1 and len(left) == before:
            return left
        size = max(1, size // 2)
