"""All results as Markdown, for the terminal and for docs/benchmarks.md alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from marks import Marks

from peers.results import Check, ModelResult, Results, Row
from peers.tables import LACKING, model_part, ratio_text, share_text, table, time_text

_MARKS = Marks("peers")
BEGIN, END = _MARKS.begin, _MARKS.end

_LEAST_AGREEMENT = 0.8
_NOTES = """\
*difference*: 99 % interval of the metric minus that of the FP32 model. *latency / FP32*: against
the FP32 model on ONNX Runtime, one thread, batch 1, all rows in turns, with its 99 % interval and
verdict; *bmopt / it*: bmopt's latency over the row's, below 1 where bmopt is faster. *seconds* and
*peak memory* are of the quantiser's whole process; bmopt's starts with an empty cache, times which
layers to leave in float, and measures what it made. OpenVINO runs what is float in float32, as
ONNX Runtime does; what it does on its own is in the last table."""
_TENSORRT = """\
\\* made for TensorRT: only its accuracy is comparable. That its graph is slow on ONNX Runtime says
nothing about the tool."""
_OVERVIEW = f"""\
bmopt beside the fastest other tool whose model agrees with FP32 on at least {_LEAST_AGREEMENT:.0%}
of the samples:"""
_CHECKS = """\
The same files in the engines' own benchmarks, one thread, one inference at a time: median
latencies. Theirs leave out Python and what it costs to hand arrays over."""


def document(results: Results, *, tables: bool = True) -> str:
    """Return everything: how, on what, the tables unless told otherwise, the cross-check."""
    parts = [
        f"```sh\n{results.command}\n```",
        f"Measured on {results.cpu}. {_versions(results)}",
        *_overview(results.models),
        *(model_part(model) for model in results.models if tables),
        _NOTES,
    ]
    if any(row.is_for_tensorrt for model in results.models for row in model.rows):
        parts.append(_TENSORRT)
    return "\n\n".join([*parts, *_cross_check(results.models)])


def write_docs(page: Path, results: Results) -> None:
    """Put the document between the marks of a page.

    Raises:
        ValueError: See ``require_marks``.
    """
    _MARKS.put(page, document(results))


def require_marks(page: Path) -> None:
    """Check that a page can take the document.

    Raises:
        ValueError: It lacks a mark, has one twice, or has them in the wrong order.
    """
    _MARKS.require(page)


def _versions(results: Results) -> str:
    engines, tools = (
        ", ".join(f"{name} {version}" for name, version in found.items()) or "none"
        for found in (results.engines, results.versions)
    )
    return f"Engines: {engines}. Tools: {tools}."


def _overview(models: Sequence[ModelResult]) -> Iterator[str]:
    heads = ("model", "bmopt agrees", "bmopt / FP32", "fastest other tool", "agrees", "bmopt / it")
    rows = [[model.name, *_beside_fastest(model)] for model in models if model.rows]
    if rows:
        yield _OVERVIEW
        yield "\n".join(table(heads, rows))


def _beside_fastest(model: ModelResult) -> list[str]:
    ours = next(row for row in model.rows if row.name == "bmopt")
    times = {row.to_fp32.ratio: row for row in model.rows if row.to_fp32 and _is_comparable(row)}
    fastest = times[min(times)] if times else None
    return [
        share_text(ours.agreement),
        ratio_text(ours.to_fp32),
        "none" if fastest is None else fastest.title,
        share_text(fastest.agreement if fastest else None),
        ratio_text(fastest.ours_to_it if fastest else None),
    ]


def _is_comparable(row: Row) -> bool:
    agrees = row.agreement is None or row.agreement >= _LEAST_AGREEMENT
    return row.name != "bmopt" and not row.is_for_tensorrt and agrees


def _cross_check(models: Sequence[ModelResult]) -> Iterator[str]:
    found = [(model.name, check) for model in models for check in model.checks]
    skipped = {check.tool: check.note for _, check in found if check.note.startswith("skipped")}
    rows = [_check_cells(name, check) for name, check in found if check.tool not in skipped]
    heads = ("model", "file", "benchmark", "its median", "bmopt bench", "bmopt bench / it")
    if rows:
        yield _CHECKS
        yield "\n".join(table(heads, rows))
    yield from (f"{tool}: {note}." for tool, note in skipped.items())


def _check_cells(name: str, check: Check) -> list[str]:
    ours, its = check.bmopt_ns, check.median_ns
    return [
        name,
        check.file,
        f"{check.tool}: {check.note}" if check.note else check.tool,
        time_text(its),
        time_text(ours),
        f"{ours / its:.3f}" if ours and its else LACKING,
    ]
