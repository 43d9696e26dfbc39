from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.cli.main import main
from bmopt.core.bench_document import BenchDocument


def test_report_writes_a_page_and_says_where(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_folder / "a.json").write_text(BenchDocument(command="x < y").to_json())
    assert main(["report", "a.json"]) == 0
    assert capsys.readouterr().out == "report: report.html\n"
    first = (own_folder / "report.html").read_bytes()
    assert b"x &lt; y" in first
    assert main(["report", "a.json", "-o", "pages/again.html"]) == 0
    assert (own_folder / "pages" / "again.html").read_bytes() == first


def test_report_refuses_what_is_no_result_in_a_line(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_folder / "a.json").write_text("{}")
    assert main(["report", "a.json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "a.json: is no benchmark" in printed.err
    assert not (own_folder / "report.html").exists()
