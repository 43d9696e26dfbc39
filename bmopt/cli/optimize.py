"""``bmopt optimize``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.cli.options import (
    PipelineOption,
    add_json,
    add_model,
    add_pipeline,
    add_shapes,
    given,
)
from bmopt.cli.output import print_json, print_table, say
from bmopt.cli.units import size_text
from bmopt.cli.verb import Verb

if TYPE_CHECKING:
    from bmopt.optimizer.pass_log import PassRecord, PipelineLog
    from bmopt.workflow.optimizing import OptimizeReport


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "-o", "--out", metavar="OUT", type=Path, required=True, help="the .onnx file to write"
    )
    add_pipeline(parser, default="simplify if left out")
    parser.add_argument(
        "--list-passes", action=PipelineOption, nargs=0, help="list the passes and exit"
    )
    add_shapes(parser)
    parser.add_argument(
        "--no-verify", action="store_true", help="do not check that results are unchanged"
    )
    parser.add_argument(
        "--print-after-all",
        action="store_true",
        help="print the model as text on stderr after every pass",
    )
    parser.add_argument("--verbose", action="store_true", help="also list rewrites not made")
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.workflow.optimizing import optimize_model

    dump = arguments.print_after_all
    with shown_progress(plain=dump) as progress:
        report = optimize_model(
            arguments.model,
            arguments.out,
            verify=not arguments.no_verify,
            on_pass=_print_model if dump else None,
            want_text=dump,
            progress=progress,
            **given(arguments, ("pipeline", "shapes")),
        )
        progress.warn_all(map(str, report.log.rollbacks))
    if arguments.json:
        print_json({**report.to_dict(), "out": arguments.out})
    else:
        _print_report(report, arguments.out, verbose=arguments.verbose)
    return 0


def _print_model(name: str, text: str) -> None:
    print(f"-- after {name}\n{text}", file=sys.stderr)


def _print_report(report: OptimizeReport, out: Path, *, verbose: bool) -> None:
    records = report.log.by_pass()
    print_table(("pass", "time", "nodes"), [_row(record) for record in records], right=(1, 2))
    if verbose:
        _print_refusals(records)
    say()
    say(_verification(report.log))
    nodes = f"{report.nodes_before} -> {report.nodes_after} nodes"
    sizes = f"{size_text(report.size_before)} -> {size_text(report.size_after)}"
    say(f"{out}: {nodes}, {sizes} in {report.log.seconds:.2f} s", style="bold")


def _row(record: PassRecord) -> tuple[str, str, str]:
    delta = record.nodes_after - record.nodes_before
    changed = f"{delta:+d}" if delta else ("0" if record.modified else "-")
    return record.name, f"{1e3 * record.seconds:.0f} ms", changed


def _print_refusals(records: tuple[PassRecord, ...]) -> None:
    rows = [(r.name, refusal.node, refusal.reason) for r in records for refusal in r.refusals]
    if rows:
        say()
    print_table(("pass", "node left alone", "reason"), rows)


def _verification(log: PipelineLog) -> str:
    found = log.verification
    reason = f" ({found.reason})" if found.reason else ""
    return f"verification: {found.verdict}{reason}, {found.seconds:.2f} s"


VERB = Verb("optimize", "rewrite a model without changing its results", _add_arguments, _run)
