"""``bmopt report``: documents of benchmarks in, one HTML page out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bmopt.bench.report.page import Run, page
from bmopt.core.bench_document import KEY, BenchDocument
from bmopt.core.files import write_text
from bmopt.errors import ArtifactError, OutputError, UsageError
from bmopt.workflow.artifact import REPORT, read_manifest
from bmopt.workflow.artifact_document import REPORT_KEY, from_artifact_report

PAGE = "report.html"
"""What the page is called where nobody said otherwise."""


def read_document(path: Path) -> BenchDocument:
    """Read what ``bmopt bench`` wrote, or the ``report.json`` of an artifact, or its folder.

    Raises:
        ArtifactError: It is missing, damaged, or something else.
    """
    if path.is_dir():
        return _of_folder(path)
    document = _json(path)
    if isinstance(document, dict) and KEY not in document and REPORT_KEY in document:
        return from_artifact_report(document, source=str(path))
    return BenchDocument.from_dict(document, source=str(path))


def write_page(documents: Sequence[tuple[str, BenchDocument]], out: Path) -> None:
    """Draw (title, document) pairs as one self-contained HTML file.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    write_text(out, page([Run.of(document, title) for title, document in documents]))


def write_report_page(paths: Sequence[Path], out: Path) -> Path:
    """Draw documents as one self-contained HTML file and return its path.

    Raises:
        UsageError: No documents.
        ArtifactError: One of them cannot be read.
        OutputError: ``out`` cannot be written, or is one of the documents.
    """
    if not paths:
        raise UsageError("no results to draw; give the JSON of bmopt bench, or an artifact")
    if any(out.absolute() == path.absolute() for path in paths):
        raise OutputError(f"{out}: is one of the results; name another output")
    write_page([(_title(path), read_document(path)) for path in paths], out)
    return out


def _of_folder(path: Path) -> BenchDocument:
    manifest = read_manifest(path)
    if not (path / REPORT).is_file():
        raise ArtifactError(f"{path}: nothing was measured on it (no {REPORT}); compile again")
    return from_artifact_report(_json(path / REPORT), manifest, source=str(path / REPORT))


def _json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"{path}: cannot be read ({reason})") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: is not JSON ({error}); measure again") from error


def _title(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem
