"""``bmopt prune``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from bmopt.cli.output import print_json, print_table, say
from bmopt.cli.units import size_text
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
    from bmopt.errors import UsageError
    from bmopt.workflow.pruning.budget import PruneBudget
    from bmopt.workflow.pruning.wish import PruneWish

    budgets = [f"{kind}={getattr(arguments, kind)}" for kind in _KINDS if getattr(arguments, kind)]
    if len(budgets) > 1:
        raise UsageError("give one of --latency, --macs and --parameters")
    budget = PruneBudget.parse(budgets[0]) if budgets else None
    return PruneWish(
        budget,
        arguments.max_drop,
        arguments.plan or "",
        arguments.sparsity,
        arguments.multiple,
    ).checked()


def print_pruning(report: Mapping[str, Any]) -> None:
    """Print what was tried, what was chosen, and the groups that lost channels."""
    rows = [_row(point, report) for point in report["trials"]]
    headers = ("", "latency", "drop", "agreement", "MACs", "parameters", "size", "")
    print_table(headers, rows, right=range(1, 7))
    say()
    for missed in report["missed"]:
        say(f"missed: {missed}", style="red")
    cut = {name: sizes for name, sizes in report["groups"].items() if sizes[0] != sizes[1]}
    widths = ", ".join(f"{name} {left} of {size}" for name, (size, left) in cut.items())
    say(f"channels left: {widths}" if cut else "no channel was cut")
    if report["sparsity"] is not None:
        say(report["sparsity"]["gain"])
    if report["refused"]:
        say(f"{len(report['refused'])} groups stay whole; --json has the reasons")


def _row(point: Mapping[str, Any], report: Mapping[str, Any]) -> tuple[str, ...]:
    marks = []
    if point["name"] in report["pareto"]:
        marks.append("Pareto")
    if point["name"] == report["chosen"]:
        marks.append("chosen")
    return (
        point["name"],
        _number(point["latency"], 3),
        _number(point["drop"], 2),
        _number(point["agreement"], 4),
        _number(point["macs"], 3),
        _number(point["parameters"], 3),
        size_text(point["size_bytes"]),
        ", ".join(marks),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


VERB = Verb(
    "prune", "cut channels that a target's latency and accuracy allow", _add_arguments, _run
)
