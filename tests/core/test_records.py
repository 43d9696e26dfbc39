from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.core.records import from_value, to_value

Fact = str | int | float | bool | None


@dataclasses.dataclass(frozen=True)
class Inner:
    name: str
    sizes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Outer:
    ratio: float
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    facts: Mapping[str, Fact] = dataclasses.field(default_factory=dict)
    on: bool = False
    anything: Any = None


INNERS = st.builds(Inner, st.text(max_size=5), st.lists(st.integers(), max_size=3).map(tuple))
FACTS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(
    st.builds(
        Outer,
        st.floats(allow_nan=False),
        st.none() | INNERS,
        st.lists(INNERS, max_size=3).map(tuple),
        st.dictionaries(
            st.text(max_size=3), FACTS.filter(lambda f: f != math.inf and f != -math.inf)
        ),
        st.booleans(),
    )
)
def test_records_come_back_as_they_were(record: Outer) -> None:
    assert from_value(Outer, to_value(record), "record") == record


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([], "record is no object"),
        ({}, "lacks a field"),
        ({"ratio": "much"}, "record.ratio is 'much', not of type float"),
        ({"ratio": True}, "record.ratio is True"),
        ({"ratio": 1, "more": 1}, "unknown field 'more'"),
        ({"ratio": 1, "on": 1}, "record.on is 1"),
        ({"ratio": 1, "many": {}}, "record.many is no list"),
        ({"ratio": 1, "many": [{"name": 3}]}, r"record.many\[0\].name is 3"),
        ({"ratio": 1, "facts": []}, "record.facts is no object"),
        ({"ratio": 1, "facts": {"a": []}}, r"record.facts.a is \[\]"),
        ({"ratio": 1, "inner": {"name": "a", "sizes": [1.5]}}, r"sizes\[0\] is 1.5"),
    ],
)
def test_what_does_not_fit_is_named(value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        from_value(Outer, value, "record")


def test_numbers_that_json_lacks_are_strings() -> None:
    assert to_value(Outer(math.inf))["ratio"] == "inf"
    assert from_value(Outer, {"ratio": "-inf"}, "record").ratio == -math.inf
    assert math.isnan(from_value(Outer, {"ratio": "nan"}, "record").ratio)
