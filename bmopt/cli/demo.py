"""``bmopt demo``."""

from __future__ import annotations

import argparse
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
        result = run_demo(arguments.out, progress=progress)
        progress.warn_all(result.report["warnings"])
    if arguments.json:
        print_json(brief(result.report))
    else:
        print_summary(result.report)
        say(f"report: {arguments.out / PAGE}", style="bold")
    return 0


VERB = Verb(
    "demo",
    "compile the model that ships with bmopt to INT8, and draw what it gained",
    _add_arguments,
    _run,
)
