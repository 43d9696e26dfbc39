"""``bmopt lint``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.cli.options import add_json
from bmopt.cli.output import print_json, print_table, say
from bmopt.cli.verb import Verb
from bmopt.errors import UsageError

if TYPE_CHECKING:
    from bmopt.core.finding import Finding
    from bmopt.workflow.linting import LintReport

_TARGET = "trt-int8"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=Path, help="the .onnx file, or an artifact folder"
    )
    parser.add_argument(
        "--target", metavar="T", default=_TARGET, help=f"what it is to run on; {_TARGET}"
    )
    add_json(parser)
    parser.add_argument("--sarif", metavar="FILE", type=Path, help="write findings as SARIF 2.1.0")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.workflow.linting import lint_file

    report = lint_file(arguments.model, arguments.target)
    if arguments.sarif is not None:
        _require_other_file(arguments.sarif, report.model)
        _write_sarif(report, arguments.sarif)
    if arguments.json:
        print_json(_document(report))
    else:
        _print(report)
    counts = report.counts
    return int(counts["error"] > 0 or (arguments.strict and counts["warning"] > 0))


def _require_other_file(path: Path, model: Path) -> None:
    if path.resolve() == model.resolve():
        raise UsageError(f"--sarif {path}: is the model, which is never written to")


def _write_sarif(report: LintReport, path: Path) -> None:
    from bmopt.cli.sarif import sarif_document
    from bmopt.core.files import write_text

    document = sarif_document(report.findings, report.model)
    write_text(path, json.dumps(document, indent=1) + "\n")


def _document(report: LintReport) -> dict[str, object]:
    return {
        "model": report.model,
        "target": report.target,
        "counts": report.counts,
        "findings": [_finding(finding) for finding in report.findings],
    }


def _finding(finding: Finding) -> dict[str, str]:
    rule = finding.rule
    texts = {"node": finding.node, "message": finding.message, "fix": finding.fix}
    return {"rule": rule.id, "name": rule.name, "level": rule.level, **texts}


def _print(report: LintReport) -> None:
    rows = [(f.rule.id, f.rule.level, f.node or "-", f.message, f.fix) for f in report.findings]
    print_table(("rule", "level", "node", "message", "fix"), rows)
    if rows:
        say()
    found = ", ".join(_count_text(level, n) for level, n in report.counts.items() if n)
    say(f"{report.model} for {report.target}: {found or 'nothing found'}")


def _count_text(level: str, count: int) -> str:
    return f"{count} {level}{'s' if count > 1 else ''}"


VERB = Verb("lint", "find what an engine refuses, or runs in float", _add_arguments, _run)
