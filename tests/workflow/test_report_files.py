from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bmopt.core.bench_document import BenchDocument
from bmopt.errors import ArtifactError, OutputError, UsageError
from bmopt.workflow.artifact_document import from_artifact_report
from bmopt.workflow.report_files import read_document, write_report_page
from tests.bench.report.documents import full_document, measurement
from tests.workflow.demo_runs import compile_demo


def stored(path: Path, document: BenchDocument) -> Path:
    path.write_text(document.to_json(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an artifact on which a short latency was measured."""
    folder = tmp_path_factory.mktemp("measured") / "artifact"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMOPT_CACHE_DIR", str(folder.parent / "cache"))
        compile_demo(folder, duration_s=0.5)
    return folder


def test_a_benchmark_is_drawn(tmp_path: Path) -> None:
    first = stored(tmp_path / "a.json", full_document())
    second = stored(tmp_path / "b.json", BenchDocument())
    out = write_report_page([first, second], tmp_path / "r.html")
    assert "2 benchmarks" in out.read_text(encoding="utf-8")


def test_an_artifact_is_drawn_as_its_folder_or_its_report(measured: Path, tmp_path: Path) -> None:
    document = read_document(measured)
    assert [one.name for one in document.subjects] == ["source", "artifact"]
    assert document.subjects[1].digest
    assert document.measurement is not None
    assert document.measurement.variants == ("source", "artifact")
    top1 = document.accuracy[0]
    assert (top1.metric, top1.samples) == ("top1", 100)
    assert top1.difference is not None
    assert top1.p_value is not None
    assert any(not node.integer and node.reason for node in document.placement[0].nodes)
    assert BenchDocument.from_json(document.to_json()) == document
    text = write_report_page([measured], tmp_path / "r.html").read_text(encoding="utf-8")
    assert document.subjects[1].digest in text
    without = read_document(measured / "report.json")
    assert without.measurement == document.measurement
    assert not without.subjects[1].digest


def report(**sections: Any) -> dict[str, Any]:
    return {
        "bmopt_report": 1, "target": "trt-int8", "source": {"file": "m.onnx", "size_bytes": 5},
        "artifact": {"path": "m.trt-int8", "size_bytes": 2}, "warnings": [], "engine": None,
        **sections,
    }  # fmt: skip


def test_a_report_without_measurements_is_drawn() -> None:
    found = from_artifact_report(report(latency=None, latency_note="no GPU", accuracy=None))
    assert found.measurement is None
    assert found.warnings == ("latency was not measured: no GPU",)
    assert found.command == "bmopt compile m.onnx --recipe m.trt-int8/recipe.toml"


def test_a_rival_that_is_not_the_source_has_its_own_name() -> None:
    found = from_artifact_report(
        report(
            latency={"reference": "trt-fp16"},
            measurement=measurement({"source": 2e6, "artifact": 1e6}, turns=2).to_dict(),
        )
    )
    assert found.measurement is not None
    assert found.measurement.variants == ("trt-fp16", "artifact")
    assert [one.name for one in found.subjects] == ["source", "trt-fp16", "artifact"]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (report(bmopt_report=2), "report version 2"),
        ({"bmopt_report": 1}, "is no report of an artifact"),
        (report(accuracy={"samples": 3}), "is no report of an artifact"),
        (report(accuracy=[]), "is no report of an artifact"),
        (report(measurement={"bmopt_measurement": 9}), "measurement version 9"),
        ({}, "is no benchmark"),
        ([], "is no benchmark"),
    ],
)
def test_damaged_reports_are_refused(tmp_path: Path, document: Any, complaint: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ArtifactError, match=complaint) as raised:
        read_document(path)
    assert "\n" not in str(raised.value)


def test_what_cannot_be_read_or_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_document(tmp_path / "none.json")
    (tmp_path / "text.json").write_bytes(b"\xff{")
    with pytest.raises(ArtifactError, match="is not JSON"):
        read_document(tmp_path / "text.json")
    with pytest.raises(ArtifactError, match="is no bmopt artifact"):
        read_document(tmp_path)
    with pytest.raises(UsageError, match="no results"):
        write_report_page([], tmp_path / "r.html")
    path = stored(tmp_path / "a.json", BenchDocument())
    with pytest.raises(OutputError, match="name another output"):
        write_report_page([path], path)
    assert read_document(path) == BenchDocument()


def test_an_artifact_without_a_report_is_refused(measured: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "manifest.json").write_bytes((measured / "manifest.json").read_bytes())
    with pytest.raises(ArtifactError, match="nothing was measured on it"):
        read_document(bare)
