"""Random latency tables, small enough to try every placement of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from hypothesis import strategies as st

from bmopt.core.latency_table import BorderLatency, GroupLatency, LatencyTable

_TIMES = st.integers(0, 40).map(float)


@st.composite
def tables(draw: st.DrawFn, *, most: int = 8, with_borders: bool = True) -> LatencyTable:
    """Return a table whose borders lead from earlier groups to later ones."""
    names = [f"g{i}" for i in range(draw(st.integers(1, most)))]
    borders = _borders(draw, names) if with_borders else {}
    groups = {}
    for index, name in enumerate(names):
        needs = draw(st.sets(st.sampled_from(names[:index]), max_size=1)) if index else set()
        needed = tuple(needs) if with_borders and draw(st.booleans()) else ()
        groups[name] = GroupLatency(draw(_TIMES), draw(_TIMES), needs=needed)
    return LatencyTable("m" * 64, "ort-int8:x86-vnni", "a cpu", 1, groups, borders, 5.0)


def _borders(draw: st.DrawFn, names: list[str]) -> dict[str, BorderLatency]:
    borders = {}
    for index in range(draw(st.integers(0, len(names) + 1))):
        start = draw(st.integers(-1, len(names) - 1))
        later = names[start + 1 :]
        readers = draw(st.sets(st.sampled_from(later), max_size=3)) if later else set()
        borders[f"t{index}"] = BorderLatency(
            draw(_TIMES),
            draw(_TIMES),
            "" if start < 0 else names[start],
            tuple(sorted(readers)),
            draw(st.booleans()),
        )
    return borders


def sensitivities(table: LatencyTable) -> st.SearchStrategy[dict[str, float]]:
    """Return whole sensitivities, some of them 0, for the table's groups."""
    return st.fixed_dictionaries({name: st.integers(0, 9).map(float) for name in table.groups})


def every_placement(table: LatencyTable) -> Iterator[frozenset[str]]:
    """Yield every placement that keeps to what groups need."""
    names = list(table.groups)
    for count in range(len(names) + 1):
        for chosen in itertools.combinations(names, count):
            kept = frozenset(chosen)
            if _is_possible(table, kept):
                yield kept


def _is_possible(table: LatencyTable, kept: frozenset[str]) -> bool:
    return all(
        name in kept or not any(need in kept for need in group.needs)
        for name, group in table.groups.items()
    )


def total(table: LatencyTable, kept: frozenset[str], values: Mapping[str, float]) -> float:
    """Return the sum of the values of the groups that are not kept."""
    return sum(values.get(name, 0.0) for name in table.groups if name not in kept)
