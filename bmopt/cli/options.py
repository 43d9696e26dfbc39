"""Options that several verbs share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model file."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="the .onnx file")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")


def add_shapes(parser: argparse.ArgumentParser) -> None:
    """Add ``--shapes``, once per input."""
    parser.add_argument(
        "--shapes",
        metavar="INPUT:SIZES",
        action="append",
        help="sizes of an input with dynamic axes, e.g. input:1x3x224x224, or the smallest, "
        "usual and largest that an engine is to run, input:MIN:OPT:MAX; repeatable",
    )


def add_preprocess(parser: argparse.ArgumentParser) -> None:
    """Add ``--preprocess``, once per key."""
    parser.add_argument(
        "--preprocess",
        metavar="KEY=VALUE",
        action="append",
        help="how stored samples become inputs: x, y, labels, resize, crop, channels, scale, "
        "mean, std, layout, dtype; repeatable",
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add how samples are run through the model."""
    parser.add_argument("--batch-size", metavar="N", type=positive, help="samples per inference")
    parser.add_argument("--threads", metavar="N", type=positive, help="threads of a session")
    parser.add_argument("--seed", metavar="N", type=whole, help="of everything random")


class PipelineOption(argparse.Action):
    """``-p TEXT`` stores the text; ``-p help`` and ``--list-passes`` list passes and exit."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[str] | None,
        option_string: str | None = None,
    ) -> None:
        """Store the pipeline, or list the passes and exit with code 0."""
        if values == "help" or self.nargs == 0:
            from bmopt.cli.pass_list import print_passes

            print_passes()
            parser.exit()
        setattr(namespace, self.dest, values)


def add_pipeline(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add ``-p``; ``default`` is what the help says of leaving it out."""
    parser.add_argument(
        "-p",
        "--pipeline",
        metavar="TEXT",
        action=PipelineOption,
        help=f"passes, e.g. simplify or 'fold-constants,drop-dead'; {default}; 'help' lists them",
    )


def whole(text: str) -> int:
    """Return a whole number, at least 0, for argparse."""
    number = int(text) if text.isdecimal() else -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return number


def positive(text: str) -> int:
    """Return a whole number, at least 1, for argparse."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return number


def seconds(text: str) -> float:
    """Return a finite time, at least 0, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return number


def given(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the options among ``names`` that the user wrote, repeated ones as tuples."""
    written = {name: getattr(arguments, name, None) for name in names}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in written.items()
        if value is not None
    }
