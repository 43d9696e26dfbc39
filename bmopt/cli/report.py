"""``bmopt report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bmopt.cli.output import say
from bmopt.cli.verb import Verb


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        metavar="RESULT",
        type=Path,
        nargs="+",
        help="JSON of bmopt bench, or an artifact folder",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        type=Path,
        default=Path("report.html"),
        help="the HTML file (default: %(default)s)",
    )


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.workflow.report_files import write_report_page

    say(f"report: {write_report_page(arguments.results, arguments.out)}")
    return 0


VERB = Verb("report", "draw results as one HTML page", _add_arguments, _run)
