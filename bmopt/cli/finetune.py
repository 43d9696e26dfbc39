"""``bmopt finetune``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmopt.cli.options import (
    add_json,
    add_model,
    add_pipeline,
    add_preprocess,
    given,
    positive,
    whole,
)
from bmopt.cli.output import print_json, print_table, say
from bmopt.cli.verb import Verb

if TYPE_CHECKING:
    from bmopt.training.lesson import Trained
    from bmopt.workflow.finetuning import FinetuneReport

_SAMPLES = ("data", "teacher", "val", "qat", "keep_float", "pipeline", "preprocess", "limit")
_TRAINING = (
    *("epochs", "optimizer", "learning_rate", "weight_decay", "batch", "temperature"),
    *("label_weight", "smoothing", "features", "feature_weight", "augment", "hold_out"),
    *("patience", "norms", "freeze", "device", "precision", "threads", "seed"),
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "-o", "--out", metavar="OUT", type=Path, required=True, help="the .onnx file to write"
    )
    _add_samples(parser)
    _add_course(parser)
    _add_losses(parser)
    _add_machine(parser)
    add_json(parser)


def _add_samples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", metavar="DATA", required=True, help="training samples, with labels or without"
    )
    parser.add_argument(
        "--teacher", metavar="MODEL", type=Path, help="the .onnx file that it is to be like"
    )
    parser.add_argument(
        "--val", metavar="DATA", help="samples that judge; some of --data if left out"
    )
    add_preprocess(parser)
    parser.add_argument("--limit", metavar="N", type=whole, help="use at most N of --data; 0: all")
    parser.add_argument("--val-limit", metavar="N", type=whole, help="the same of --val")
    parser.add_argument(
        "--hold-out", metavar="SHARE", type=float, help="share of --data that only judges"
    )
    parser.add_argument(
        "--augment",
        metavar="A",
        action="append",
        help="flip: left to right; crop:N: images moved by up to N pixels; repeatable",
    )


def _add_course(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", metavar="N", type=positive, help="how often all are seen")
    parser.add_argument("--time", metavar="T", help="time that training may take: 90s, 10min, 1h")
    parser.add_argument("--optimizer", choices=("adam", "sgd"), help="adam if left out")
    parser.add_argument(
        "--lr", metavar="X", type=float, dest="learning_rate", help="the largest learning rate"
    )
    parser.add_argument("--weight-decay", metavar="X", type=float, help="of weights of products")
    parser.add_argument("--batch", metavar="N", type=positive, help="samples per step")
    parser.add_argument(
        "--patience", metavar="N", type=whole, help="stop after N epochs without a better metric"
    )
    parser.add_argument(
        "--norms", choices=("auto", "none"), help="BatchNormalization while it is trained"
    )
    parser.add_argument(
        "--freeze",
        metavar="P",
        action="append",
        help="name or glob of weights to keep; repeatable",
    )


def _add_losses(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label-weight", metavar="SHARE", type=float, help="share of the labels in the loss"
    )
    parser.add_argument("--smoothing", metavar="SHARE", type=float, help="of labels")
    parser.add_argument(
        "--temperature", metavar="X", type=float, help="that scores are divided by"
    )
    parser.add_argument(
        "--features",
        metavar="P",
        action="append",
        help="tensor, name or glob, that is to be like the teacher's, or auto; repeatable",
    )
    parser.add_argument("--feature-weight", metavar="X", type=float, help="of their loss")
    parser.add_argument(
        "--qat", metavar="TARGET", help="train for the integers of a target, e.g. ort-int8"
    )
    parser.add_argument(
        "--keep-float", metavar="P", action="append", help="node to leave in float; repeatable"
    )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add_pipeline(parser, default="left out, shapes and constants are folded")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), help="of products")
    parser.add_argument("--threads", metavar="N", type=positive, help="threads on a CPU")
    parser.add_argument("--seed", metavar="N", type=whole, help="of everything random")


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.training.options import TrainOptions
    from bmopt.workflow.finetuning import FinetuneRecipe, finetune_model

    options: dict[str, Any] = given(arguments, _TRAINING)
    if arguments.time is not None:
        options["seconds"] = _seconds(arguments.time)
    recipe = FinetuneRecipe(
        train=TrainOptions(**options), **given(arguments, (*_SAMPLES, "val_limit"))
    )
    with shown_progress() as progress:
        report = finetune_model(arguments.model, arguments.out, recipe, progress=progress)
    if arguments.json:
        print_json(report.to_dict())
    else:
        _print_report(report)
    return report.exit_code


def _seconds(text: str) -> float:
    from bmopt.core.tuning_budget import TuningBudget
    from bmopt.errors import UsageError

    try:
        found = TuningBudget.parse(text).seconds
    except UsageError:
        found = math.inf
    if math.isinf(found):
        raise UsageError(f"time {text!r}: write it as 90s, 10min or 1h")
    return found


def _print_report(report: FinetuneReport) -> None:
    trained = report.trained
    metric = trained.metric or "metric"
    rows = [
        (
            str(epoch.number) if epoch.number else "start",
            "-" if math.isnan(epoch.loss) else f"{epoch.loss:.4f}",
            _value(epoch.metric, metric),
            f"{epoch.seconds:.0f} s",
        )
        for epoch in trained.history
    ]
    print_table(("epoch", "loss", metric, "time"), rows, right=(1, 2, 3))
    say()
    if trained.resumed_at:
        say(f"resumed at step {trained.resumed_at}")
    if trained.stopped:
        say(f"ended before its last epoch: {trained.stopped}")
    say(f"{report.out}: {_summary(trained)}", style="bold")
    if report.plan_out is not None:
        say(f"{report.plan_out}: the plan that it was trained for; compile it with --plan")


def _value(value: float, metric: str) -> str:
    if math.isnan(value):
        return "-"
    return f"{-value:.4g}" if metric == "error" else f"{100 * value:.2f} %"


def _summary(trained: Trained) -> str:
    before, after = trained.history[0].metric, trained.history[trained.best_epoch].metric
    judged = ""
    if trained.metric:
        values = (_value(value, trained.metric) for value in (before, after))
        judged = f", {trained.metric} {' -> '.join(values)}"
    where = f"{trained.device}, {trained.precision}"
    return f"weights of epoch {trained.best_epoch}{judged}; {trained.samples} samples on {where}"


VERB = Verb(
    "finetune", "train a model that was changed, by labels or a teacher", _add_arguments, _run
)
