"""``bmopt prune``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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
from bmopt.cli.pruning_summary import print_pruning
from bmopt.cli.verb import Verb

if TYPE_CHECKING:
    from bmopt.workflow.pruning.wish import PruneWish

_KINDS = ("latency", "macs", "parameters")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--target",
        metavar="T",
        default="ort-fp32",
        help="what latency and accuracy are measured on (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        type=Path,
        default=Path("pruned.onnx"),
        help="the pruned float model; its plan lies beside it (default: %(default)s)",
    )
    for kind in _KINDS:
        parser.add_argument(
            f"--{kind}",
            metavar="R",
            help=f"part of the model's {_named(kind)} to be left, between 0 and 1",
        )
    parser.add_argument(
        "--max-drop",
        metavar="POINTS",
        type=float,
        help="look for the cheapest model that loses no more of the metric on --val",
    )
    parser.add_argument("--plan", metavar="FILE", help="cut what this plan says, edited or not")
    parser.add_argument(
        "--sparsity",
        metavar="P",
        default="",
        help="zeros that the weights get: 2:4, N:M, 4x4=0.5 or unstructured=0.8",
    )
    parser.add_argument(
        "--multiple",
        metavar="N",
        type=whole,
        default=0,
        help="widths are multiples of N; 0: of what the kernels compute at a time",
    )
    _add_samples(parser)
    add_pipeline(parser, default="simplify if left out")
    add_shapes(parser)
    add_running(parser)
    parser.add_argument("--html", metavar="FILE", type=Path, help="draw what was tried")
    add_json(parser)


def _add_samples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calib", metavar="DATA", help="samples that channels are chosen on")
    parser.add_argument("--val", metavar="DATA", help="other samples, to measure accuracy on")
    parser.add_argument(
        "--metric", metavar="M", help="what decides: auto, none, or a metric of bmopt bench"
    )
    add_preprocess(parser)
    for name in ("calib", "val"):
        parser.add_argument(
            f"--{name}-limit", metavar="N", type=whole, help=f"use at most N of --{name}; 0: all"
        )


def _named(kind: str) -> str:
    return "MACs" if kind == "macs" else kind


_OPTIONS = (
    "target", "calib", "val", "metric", "pipeline", "shapes", "preprocess", "calib_limit",
    "val_limit", "batch_size", "threads", "seed",
)  # fmt: skip


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.workflow.pruning.running import prune_model, write_report
    from bmopt.workflow.recipe import Recipe

    wish = _wish(arguments)
    recipe = Recipe(**given(arguments, _OPTIONS))
    with shown_progress() as progress:
        result = prune_model(arguments.model, recipe, wish, arguments.out, progress=progress)
    if arguments.html is not None:
        write_report(result, arguments.html)
    if arguments.json:
        print_json(result.report)
    else:
        print_pruning(result.report)
        say()
        say(f"pruned model: {result.out}")
    return result.exit_code


def _wish(arguments: argparse.Namespace) -> PruneWish:
    from bmopt.workflow.pruning.budget import KINDS
    from bmopt.workflow.pruning.wish import PruneWish

    return PruneWish.of(
        budgets={kind: getattr(arguments, kind) for kind in KINDS},
        max_drop=arguments.max_drop,
        plan=arguments.plan or "",
        sparsity=arguments.sparsity,
        multiple=arguments.multiple,
    )


VERB = Verb(
    "prune", "cut channels that a target's latency and accuracy allow", _add_arguments, _run
)
