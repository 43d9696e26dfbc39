from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.core.ranges import METHODS, ChannelRanges, Interval, RangeTable, TensorRange
from bmopt.errors import CalibrationError

numbers = st.floats(allow_nan=False, allow_infinity=False)


def tensor_range(low: float, high: float, **more: Any) -> TensorRange:
    bound = max(-low, high)
    return TensorRange(
        low=low,
        high=high,
        count=7,
        affine={method: Interval(low, high) for method in METHODS},
        symmetric={method: Interval(-bound, bound) for method in METHODS},
        **more,
    )


TABLE = RangeTable(
    model="a" * 64,
    dataset="d" * 64,
    samples=3,
    tensors={
        "x": tensor_range(-1.5, 2.0),
        "größe": tensor_range(0.0, 0.0),
        "mask": tensor_range(-1.0, 0.0, infinities=4),
        "w": tensor_range(
            -1.0,
            1.0,
            channels=ChannelRanges(1, (tensor_range(-1.0, 0.5), tensor_range(0.0, 1.0))),
        ),
    },
)


def test_a_table_goes_through_json() -> None:
    again = RangeTable.from_json(TABLE.to_json())
    assert again == TABLE
    assert again.to_json() == TABLE.to_json()


@given(numbers, numbers)
def test_numbers_stay_exact(one: float, other: float) -> None:
    found = tensor_range(min(one, other), max(one, other))
    table = RangeTable("m", "d", 1, {"x": found})
    assert RangeTable.from_json(table.to_json()) == table


def test_intervals_by_method() -> None:
    found = TABLE.tensors["x"]
    assert found.interval("mse", symmetric=False) == Interval(-1.5, 2.0)
    assert found.interval("mse", symmetric=True) == Interval(-2.0, 2.0)
    assert [name for name, entry in TABLE.tensors.items() if entry.is_zero] == ["größe"]


def edited(tensor: Any = None, **changes: Any) -> str:
    document = json.loads(TABLE.to_json())
    document.update(changes)
    if tensor is not None:
        document["tensors"] = {"x": {**document["tensors"]["x"], **tensor}}
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "null", '"table"', "{}"),
        edited(bmopt_ranges=99),
        edited(samples="many"),
        edited(tensors=[]),
        edited(tensors={"x": {}}),
        edited({"low": "a"}),
        edited({"low": None}),
        edited({"affine": {"minmax": [1.0]}}),
        edited({"affine": {"minmax": 1.0}}),
        edited({"symmetric": {"minmax": [1.0]}}),
        edited({"channels": {"axis": 1}}),
    ],
)
def test_another_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(CalibrationError, match=r"^r\.json: ") as caught:
        RangeTable.from_json(text, source="r.json")
    assert "\n" not in str(caught.value)


def test_a_table_knows_its_model() -> None:
    TABLE.require_model("a" * 64)
    with pytest.raises(CalibrationError, match="on model aaaaaaaaaaaa, not on bbbbbbbbbbbb"):
        TABLE.require_model("b" * 64)
