"""``bmopt build``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bmopt.cli.board_options import add_board, board_text
from bmopt.cli.engine_options import add_engine, add_tuning
from bmopt.cli.options import add_json, add_shapes, given, seconds
from bmopt.cli.output import print_json
from bmopt.cli.verb import Verb


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifact", metavar="ARTIFACT", type=Path, help="the artifact folder")
    parser.add_argument(
        "-o",
        "--out",
        metavar="DIR",
        type=Path,
        help="the child artifact's folder (default: ARTIFACT.built)",
    )
    add_shapes(parser)
    parser.add_argument(
        "--duration",
        metavar="S",
        type=seconds,
        default=5.0,
        help="time limit of the comparison with float16 in seconds; 0 leaves it out",
    )
    add_engine(parser)
    add_tuning(parser)
    add_board(parser, "tune kernels, and measure the artifact,")
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.cli.summary import brief, print_build
    from bmopt.workflow.building import build_artifact

    with shown_progress() as progress:
        result = build_artifact(
            arguments.artifact,
            arguments.out,
            shapes=tuple(arguments.shapes or ()),
            duration_s=arguments.duration,
            changes=_changes(arguments),
            progress=progress,
        )
        progress.warn_all(result.report["warnings"])
    if arguments.json:
        print_json(brief(result.report))
    else:
        print_build(result.report)
    return 0


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the builder's options that the user wrote, checked as a recipe's are."""
    from bmopt.workflow.recipe import ENGINE_OPTIONS, Recipe

    arguments.board = board_text(arguments)
    written = given(arguments, ENGINE_OPTIONS)
    options = Recipe(**written).build_options({}, has_sparse_weights=False)
    names = {
        "workspace_mib": "workspace_bytes",
        "build_timeout_s": "timeout_s",
    }
    return {
        names.get(name, name): getattr(options, names.get(name, name))
        for name in written
        if (name, written[name]) != ("sparse", "auto")
    }


VERB = Verb("build", "build an artifact's engine on the device it runs on", _add_arguments, _run)
