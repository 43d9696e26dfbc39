"""``bmopt compile``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmopt.cli.board_options import add_board, board_text
from bmopt.cli.engine_options import add_engine, add_tuning
from bmopt.cli.options import (
    add_json,
    add_model,
    add_pipeline,
    add_preprocess,
    add_running,
    add_shapes,
    given,
    seconds,
    whole,
)
from bmopt.cli.output import print_json
from bmopt.cli.verb import Verb

if TYPE_CHECKING:
    from bmopt.workflow.recipe import Recipe


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--target",
        metavar="T",
        help="engine-precision[:device], e.g. trt-int8, rtx-fp16:sm89 (default: ort-int8)",
    )
    parser.add_argument(
        "-o", "--out", metavar="DIR", type=Path, help="the artifact folder (default: MODEL.TARGET)"
    )
    parser.add_argument(
        "--recipe", metavar="FILE", type=Path, help="a .toml with options; flags override it"
    )
    _add_samples(parser)
    _add_budget(parser)
    _add_quantisation(parser)
    add_pipeline(parser, default="simplify if left out")
    parser.add_argument(
        "--prune",
        metavar="WHAT",
        help="cut channels first: latency=R, macs=R or parameters=R leave that part, drop=POINTS "
        "loses no more, or a plan of bmopt prune",
    )
    add_shapes(parser)
    add_running(parser)
    add_engine(parser)
    add_tuning(parser)
    add_board(parser, "tune kernels, and measure the artifact,")
    parser.add_argument(
        "--require-engine",
        action="store_const",
        const=True,
        help="fail where the engine cannot be built here, rather than write the graph alone",
    )
    parser.add_argument(
        "--duration",
        dest="duration_s",
        metavar="S",
        type=seconds,
        help="time limit of the latency comparison in seconds; 0 leaves it out",
    )
    parser.add_argument("--verbose", action="store_true", help="list every node left in float")
    add_json(parser)


def _add_samples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calib",
        metavar="DATA",
        help="calibration samples: an .npz, .npy or .csv file, a folder of images, "
        "module:function, or random[:N]",
    )
    parser.add_argument("--val", metavar="DATA", help="other samples, to measure accuracy on")
    parser.add_argument(
        "--metric",
        metavar="M",
        help="what decides: auto (top1 where there are labels, else agreement), none, or a metric "
        "of bmopt bench such as agreement, sqnr, cosine, module:function",
    )
    add_preprocess(parser)
    for name in ("calib", "val"):
        parser.add_argument(
            f"--{name}-limit", metavar="N", type=whole, help=f"use at most N of --{name}; 0: all"
        )


def _add_budget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-drop",
        metavar="POINTS",
        type=float,
        help="what INT8 may lose of the metric, in points, on --val; more is done until it holds",
    )
    parser.add_argument(
        "--min-metric", metavar="VALUE", help="the least value of the metric, in its own unit"
    )
    parser.add_argument(
        "--min-speedup", metavar="X", type=float, help="fail unless X times as fast as float"
    )
    parser.add_argument(
        "--preset", metavar="P", help="effort for accuracy: fast, balanced (default) or best"
    )
    parser.add_argument(
        "--steps",
        metavar="S",
        help="steps instead of a preset: a list of ranges, equalize, absorb, least-squares, "
        "scales, rounding, bias, gain, learned; or none",
    )
    parser.add_argument(
        "--plan", metavar="FILE", help="follow the plan.json of an earlier run, edited or not"
    )


def _add_quantisation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-float",
        metavar="P",
        action="append",
        help="node name, glob or op:Type to leave in float; repeatable",
    )
    parser.add_argument(
        "--float",
        dest="float_type",
        metavar="T",
        help="what is not in 8 bits on a GPU: fp32 (default), fp16 or bf16",
    )
    parser.add_argument(
        "--cast-io",
        action="store_const",
        const=True,
        help="inputs and outputs become half precision too where the rest does",
    )
    parser.add_argument(
        "--method", metavar="M", help="how ranges are chosen; auto takes the most accurate"
    )
    parser.add_argument(
        "--placement",
        metavar="P",
        help="which nodes run in INT8: measured (default) where it pays, rules, all, or key=N,...",
    )
    parser.add_argument(
        "--latency-table",
        metavar="FILE",
        help="place by the times that bmopt bench measured on the device, rather than time here",
    )


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.cli.summary import brief, print_summary
    from bmopt.core.target import Target

    recipe = _recipe(arguments)
    target = Target.parse(recipe.target)
    out = arguments.out or Path(f"{arguments.model.stem}.{target.file_name}")
    from bmopt.workflow.compiling import compile_model

    with shown_progress() as progress:
        result = compile_model(arguments.model, recipe, out, progress=progress)
        progress.warn_all(result.report["warnings"])
    if arguments.json:
        print_json(brief(result.report))
    else:
        print_summary(result.report, verbose=arguments.verbose)
    return result.exit_code


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """Return the options: flags before the recipe file before the defaults."""
    import dataclasses

    from bmopt.workflow.recipe import Recipe, read_options

    stored: dict[str, Any] = {} if arguments.recipe is None else read_options(arguments.recipe)
    arguments.board = board_text(arguments)
    flags = given(arguments, [field.name for field in dataclasses.fields(Recipe)])
    return Recipe(**{**stored, **flags})


VERB = Verb("compile", "make the artifact of a model for a target", _add_arguments, _run)
