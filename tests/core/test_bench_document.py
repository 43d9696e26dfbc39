from __future__ import annotations

import json
from typing import Any

import pytest

from bmopt.core.bench_document import KEY, VERSION, BenchDocument, TensorSqnr
from bmopt.errors import ArtifactError
from tests.bench.report.documents import full_document, odd_document


def drawn_back(document: BenchDocument) -> BenchDocument:
    return BenchDocument.from_json(document.to_json())


@pytest.mark.parametrize("document", [BenchDocument(), full_document()], ids=["empty", "full"])
def test_documents_come_back_as_they_were(document: BenchDocument) -> None:
    assert drawn_back(document) == document
    assert drawn_back(document).to_json() == document.to_json()


def test_hostile_text_comes_back_as_it_was() -> None:
    assert drawn_back(odd_document()).warnings == odd_document().warnings


def test_sections_may_be_left_out() -> None:
    assert BenchDocument.from_dict({KEY: VERSION}) == BenchDocument()


def test_a_document_is_strict_json() -> None:
    text = BenchDocument(layer_sqnr=(TensorSqnr("a", float("inf")),)).to_json()
    assert json.loads(text, parse_constant=pytest.fail)["layer_sqnr"][0]["sqnr_db"] == "inf"
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "is no benchmark"),
        ({}, "is no benchmark"),
        ({KEY: 2}, "benchmark version 2, this bmopt reads 1; measure again"),
        ({KEY: VERSION, "subjects": [{}]}, "lacks a field"),
        ({KEY: VERSION, "subject": []}, "unknown field 'subject'"),
        ({KEY: VERSION, "measurement": {}}, "x.json, measurement: is not a bmopt measurement"),
        ({KEY: VERSION, "noise_floor": 3}, "x.json, noise_floor: is not"),
        ({KEY: VERSION, "scenarios": {}}, "scenarios is no list"),
        ({KEY: VERSION, "scenarios": [{}]}, r"x.json, scenarios\[0\]: is no record"),
        ({KEY: VERSION, "warnings": "one"}, "warnings is no list"),
        ({KEY: VERSION, "accuracy": [{"subject": "a", "metric": "m"}]}, "lacks a field"),
    ],
)
def test_what_is_no_benchmark_is_refused_in_a_line(document: Any, complaint: str) -> None:
    with pytest.raises(ArtifactError, match=complaint) as raised:
        BenchDocument.from_dict(document, source="x.json")
    assert str(raised.value).startswith("x.json")
    assert "\n" not in str(raised.value)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ArtifactError, match="is not JSON"):
        BenchDocument.from_json("{")
