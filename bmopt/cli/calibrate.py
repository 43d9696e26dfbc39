"""``bmopt calibrate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bmopt.cli.options import (
    add_json,
    add_model,
    add_pipeline,
    add_preprocess,
    add_running,
    add_shapes,
    given,
    whole,
)
from bmopt.cli.output import print_json, say
from bmopt.cli.verb import Verb

_OPTIONS = (
    "pipeline",
    "preprocess",
    "limit",
    "batch_size",
    "threads",
    "shapes",
    "seed",
    "channels",
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--data",
        metavar="DATA",
        required=True,
        help="an .npz, .npy or .csv file, a folder of images, module:function, or random[:N]",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        type=Path,
        default=Path("ranges.json"),
        help="the range table (default: %(default)s)",
    )
    parser.add_argument("--limit", metavar="N", type=whole, help="use at most N samples; 0: all")
    parser.add_argument(
        "--channels",
        metavar="TENSOR:AXIS",
        action="append",
        help="watch every index of a tensor's axis by itself as well; repeatable",
    )
    add_pipeline(parser, default="left out, the model is calibrated as it is")
    add_preprocess(parser)
    add_shapes(parser)
    add_running(parser)
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.workflow.ranging import calibrate_model

    options = given(arguments, _OPTIONS)
    with shown_progress() as progress:
        table = calibrate_model(
            arguments.model,
            arguments.data,
            arguments.out,
            progress=progress,
            **options,
        )
        zero = [name for name, entry in table.tensors.items() if entry.is_zero]
        progress.warn_all(f"tensor {name!r} never left zero" for name in zero)
    if arguments.json:
        print_json(
            {
                "ranges": arguments.out,
                "model": table.model,
                "dataset": table.dataset,
                "samples": table.samples,
                "tensors": len(table.tensors),
                "zero": zero,
            }
        )
    else:
        say(f"{arguments.out}: ranges of {len(table.tensors)} tensors on {table.samples} samples")
    return 0


VERB = Verb("calibrate", "measure the range of every tensor on samples", _add_arguments, _run)
