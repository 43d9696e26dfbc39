from __future__ import annotations

import dataclasses
import json

import pytest

from bmopt.core.latency_table import BorderLatency, GroupLatency, LatencyTable
from bmopt.errors import QuantizationError

TABLE = LatencyTable(
    model="m" * 64,
    target="ort-int8:x86-vnni",
    host="a cpu",
    threads=1,
    groups={
        "conv": GroupLatency(100.0, 40.0, "Conv"),
        "add": GroupLatency(10.0, 5.0, "Add", ("conv",)),
    },
    borders={
        "x": BorderLatency(7.0, 6.0, "", ("conv", "add")),
        "t": BorderLatency(3.0, 2.0, "conv", ("add",)),
        "y": BorderLatency(1.0, 0.5, "add", (), read_in_float=True),
    },
    rest_ns=1000.0,
)


def test_it_goes_through_text() -> None:
    assert LatencyTable.from_json(TABLE.to_json()) == TABLE


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (set(), 1000 + 45 + 7 + 0.5),
        ({"conv", "add"}, 1110.0),
        ({"conv"}, 1000 + 100 + 5 + 7 + 3 + 0.5),
        ({"add"}, 1000 + 40 + 10 + 7 + 2),
    ],
)
def test_a_prediction_adds_groups_and_borders_up(kept: set[str], expected: float) -> None:
    assert TABLE.predicted_ns(kept) == expected


def test_borders_can_be_scaled() -> None:
    assert TABLE.scaled(2.0).predicted_ns(set()) == 1000 + 45 + 14 + 1


def test_it_is_for_one_model() -> None:
    TABLE.require_model("m" * 64)
    with pytest.raises(QuantizationError, match="--latency-table FILE"):
        TABLE.require_model("n" * 64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bmopt_latencies": 99}, "version 99"),
        ({"groups": {"conv": {"float_ns": 1.0}}}, "is not a bmopt latency table"),
        ({"groups": {"conv": {"float_ns": -1.0, "int_ns": 1.0}}, "borders": {}}, "-1.0"),
        ({"borders": {"t": {"quantize_ns": 1, "dequantize_ns": 1, "writer": "no"}}}, "'no'"),
        ({"surprise": 1}, "is not a bmopt latency table"),
    ],
)
def test_a_damaged_file_is_refused_by_name(change: dict[str, object], said: str) -> None:
    text = json.dumps({**json.loads(TABLE.to_json()), **change})
    with pytest.raises(QuantizationError, match=said) as refused:
        LatencyTable.from_json(text, source="edited.json")
    assert "edited.json" in str(refused.value)


def test_text_that_is_no_table_is_refused() -> None:
    for text in ("", "[]", "{}"):
        with pytest.raises(QuantizationError, match="is not a bmopt latency table"):
            LatencyTable.from_json(text)


def test_a_table_can_do_without_what_is_optional() -> None:
    document = json.loads(TABLE.to_json())
    del document["rest_ns"], document["groups"]["conv"]["op"], document["groups"]["conv"]["needs"]
    found = LatencyTable.from_json(json.dumps(document))
    plain = {**TABLE.groups, "conv": dataclasses.replace(TABLE.groups["conv"], op="")}
    assert found == dataclasses.replace(TABLE, rest_ns=0.0, groups=plain)
