"""``bmopt demo``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bmopt.cli.options import add_json
from bmopt.cli.output import print_json, say
from bmopt.cli.verb import Verb


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("demo-artifact"),
        help="the artifact folder (default: %(default)s)",
    )
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.cli.summary import brief, print_summary
    from bmopt.workflow.demo import run_demo
    from bmopt.workflow.report_files import PAGE

    with shown_progress() as progress:
        demo = run_demo(arguments.out, progress=progress)
        progress.warn_all(demo.compiled.report["warnings"])
    if arguments.json:
        print_json({**brief(demo.compiled.report), "page": arguments.out / PAGE})
    else:
        print_summary(demo.compiled.report)
        say(f"report: {arguments.out / PAGE}", style="bold")
    for line in (*demo.measured.failures.values(), *demo.measured.problems):
        print(f"bmopt: error: {line}", file=sys.stderr)
    return demo.measured.exit_code


VERB = Verb(
    "demo",
    "compile the model that ships with bmopt to INT8, and draw what it gained",
    _add_arguments,
    _run,
)
