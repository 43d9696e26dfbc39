from __future__ import annotations

import json

import pytest

from bmopt.core.measurement import Block, Environment, Measurement, Settings
from bmopt.errors import ArtifactError, UsageError

ONE = Measurement(
    variants=("fp32", "int8"),
    blocks=(
        Block("int8", 0, (100, 160, 225), (50, 55, 60), {"cpu.frequency_mhz": 2000.5}),
        Block("fp32", 1, (400, 520), (100, 110)),
    ),
    environment=Environment({"cpu.model": "x", "cpu.quota": None, "threads.intra_op": 1}),
    settings=Settings(duration_s=3.0, seed=7),
)


def test_json_gives_an_equal_value_back() -> None:
    text = ONE.to_json()
    assert text.count("\n") == 1
    assert Measurement.from_json(text) == ONE
    block = json.loads(text)["blocks"][0]
    assert block == {
        "variant": "int8",
        "start_ns": 100,
        "pause_ns": [10, 10],
        "latency_ns": [50, 55, 60],
        "readings": {"cpu.frequency_mhz": 2000.5},
    }


def test_another_version_is_refused() -> None:
    text = ONE.to_json().replace('"bmopt_measurement":2', '"bmopt_measurement":3')
    with pytest.raises(
        ArtifactError, match=r"r\.json: measurement version 3, this bmopt reads 1 and 2"
    ):
        Measurement.from_json(text, source="r.json")


def test_a_record_from_before_the_readings_is_read() -> None:
    document = ONE.to_dict()
    document["bmopt_measurement"] = 1
    for block in document["blocks"]:
        del block["readings"]
    old = Measurement.from_dict(document)
    assert [block.latency_ns for block in old.blocks] == [(50, 55, 60), (100, 110)]
    assert [block.readings for block in old.blocks] == [{}, {}]
    assert old.to_dict()["bmopt_measurement"] == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"pause_ns":[10,10]', '"pause_ns":[10]'),
        ('"latency_ns":[100,110]', '"latency_ns":[]'),
        ('"variant":"int8"', '"variant":"fp16"'),
        ('"seed":7', '"sed":7'),
        ('"cpu.frequency_mhz":2000.5', '"cpu.frequency_mhz":"fast"'),
        ('"readings":{}', '"readings":[1]'),
        ('"blocks"', '"blockz"'),
    ],
)
def test_a_damaged_record_is_refused(before: str, after: str) -> None:
    text = ONE.to_json()
    assert before in text
    with pytest.raises(ArtifactError, match="is not a bmopt measurement"):
        Measurement.from_json(text.replace(before, after, 1))


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"', "{}"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="is not a bmopt measurement"):
        Measurement.from_json(text)


def test_text_that_is_not_json_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"r\.json: is not JSON"):
        Measurement.from_json("{", source="r.json")


def test_blocks_need_samples_and_settings_need_sense() -> None:
    with pytest.raises(ValueError, match="no samples"):
        Block("a", 0, (), ())
    with pytest.raises(UsageError, match=r"block_ms=nan"):
        Settings(block_ms=float("nan"))
    with pytest.raises(UsageError, match=r"seed=-1"):
        Settings(seed=-1)
    with pytest.raises(UsageError, match=r"confidence=1"):
        Settings(confidence=1)


def test_merged_facts_win() -> None:
    merged = ONE.environment.merged({"cpu.model": "y", "load": 0.5})
    assert merged.facts["cpu.model"] == "y"
    assert merged.facts["load"] == 0.5
    assert ONE.environment.facts["cpu.model"] == "x"
