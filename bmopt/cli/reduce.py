"""``bmopt reduce``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.cli.options import add_json, add_model, seconds
from bmopt.cli.output import print_json, say
from bmopt.cli.verb import Verb

if TYPE_CHECKING:
    from bmopt.workflow.reducing import Reduced

_INTERRUPTED = 130
_SHOWN_OPS = 8


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "-o", "--out", metavar="OUT", type=Path, required=True, help="the .onnx file to write"
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=seconds,
        default=600.0,
        help="time limit of one check in seconds (default: 600)",
    )
    parser.add_argument(
        "--code",
        metavar="N",
        type=int,
        help="the exit code of the failure (default: what the "
        "command ends with on the whole model); -11 is a crash by signal 11",
    )
    parser.add_argument(
        "--match", metavar="REGEX", default="", help="text that the command prints when it fails"
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        default="",
        help="samples, the first of which gives the tensors at the cuts their shapes and values "
        "(default: random)",
    )
    parser.add_argument(
        "--keep-outputs", action="store_true", help="keep all outputs, and cut at inputs only"
    )
    add_json(parser)
    parser.add_argument(
        "check",
        metavar="CHECK",
        nargs="+",
        help="the command, behind --; {} in it is the model to check, appended if it is not "
        "there, and {inputs} an .npz with values for its inputs",
    )


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.workflow.check_command import CheckCommand
    from bmopt.workflow.reducing import reduce_model

    check = CheckCommand(
        tuple(arguments.check), arguments.timeout, arguments.code, arguments.match
    )
    with shown_progress() as progress:
        found = reduce_model(
            arguments.model,
            check,
            arguments.out,
            data=arguments.data,
            keep_outputs=arguments.keep_outputs,
            progress=progress,
        )
    if arguments.json:
        _print_document(found)
    else:
        _print(found)
    if not found.interrupted:
        return 0
    print(f"bmopt: interrupted; {found.out} has the best so far", file=sys.stderr)
    return _INTERRUPTED


def _print_document(found: Reduced) -> None:
    import dataclasses

    print_json(dataclasses.asdict(found))


def _print(found: Reduced) -> None:
    more = f", and {len(found.ops) - _SHOWN_OPS} more" if len(found.ops) > _SHOWN_OPS else ""
    ops = ", ".join(found.ops[:_SHOWN_OPS])
    say(f"{found.out}: {found.nodes_after} of {found.nodes_before} nodes ({ops}{more})")
    say(f"inputs {', '.join(found.inputs) or '-'}; outputs {', '.join(found.outputs)}")
    if found.inputs_file is not None:
        say(f"{found.inputs_file}: values for its inputs")
    said = f": {found.last_line}" if found.last_line else ""
    say(f"{found.checks} checks; the command still {found.failure}{said}")


VERB = Verb("reduce", "find the smallest part of a model that still fails", _add_arguments, _run)
