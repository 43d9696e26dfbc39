"""``bmopt bench``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.cli.board_options import add_board, board_of
from bmopt.cli.options import (
    add_preprocess,
    add_running,
    add_shapes,
    given,
    positive,
    whole,
)
from bmopt.cli.output import say
from bmopt.cli.verb import Verb

if TYPE_CHECKING:
    from bmopt.workflow.benching.options import BenchOptions
    from bmopt.workflow.benching.running import BenchResult

_SECTIONS = "latency, accuracy, costs, throughput, energy, layers, sqnr"
_SCENARIOS = ("single-stream", "multi-stream", "offline", "server")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "subjects",
        metavar="SUBJECT",
        nargs="+",
        help="artifact folders, .onnx files or engine:file; the first is the reference",
    )
    parser.add_argument(
        "--against", metavar="BASELINE", help="compare with this one, run again beside the others"
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="an .npz, .npy or .csv file, a folder of images, module:function, or random[:N] "
        "(default: random:16)",
    )
    parser.add_argument("--limit", metavar="N", type=whole, help="use at most N samples; 0: all")
    add_preprocess(parser)
    add_shapes(parser)
    add_running(parser)
    _add_latency(parser.add_argument_group("latency"))
    _add_accuracy(parser.add_argument_group("accuracy and gate"))
    _add_scenarios(parser.add_argument_group("load scenarios"))
    add_board(parser, "run artifacts that were compiled for tvm-*")
    _add_scope(parser.add_argument_group("what is measured, and where it goes"))


def _add_latency(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--duration",
        metavar="SECONDS",
        dest="duration_s",
        type=_above_zero,
        help="time limit of the comparison, and length of a scenario (default: 10)",
    )
    group.add_argument(
        "--precision",
        metavar="P",
        type=_share,
        help="stop when every ratio's interval is this narrow, e.g. 1%% (default) or 0.01",
    )
    group.add_argument(
        "--block",
        metavar="MS",
        dest="block_ms",
        type=_above_zero,
        help="least time in milliseconds that one runs before another does (default: 5)",
    )


def _add_accuracy(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--metric",
        metavar="METRIC",
        dest="metrics",
        action="append",
        help="top1, top5, precision, recall, f1, mse, mae, map, map50, wer, cer with options "
        "behind a colon, or module:function; repeatable (default: by the samples)",
    )
    group.add_argument(
        "--fail-if",
        metavar="CONDITIONS",
        help="worst change that passes, e.g. 'p50 +3%%, top1 -0.5pp, size +10%%'; exit code 1 "
        "where an interval lies beyond, 4 where it does not tell",
    )


def _add_scenarios(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--scenario",
        metavar="NAME",
        dest="scenarios",
        action="append",
        choices=_SCENARIOS,
        help=f"{', '.join(_SCENARIOS)}, by MLPerf LoadGen's rules; repeatable",
    )
    group.add_argument(
        "--target-latency",
        metavar="MS",
        dest="target_latency_ms",
        type=_above_zero,
        help="server: p99 may be at most this, in milliseconds (default: 100)",
    )
    group.add_argument(
        "--target-qps",
        metavar="RATE",
        type=_above_zero,
        help="server: queries per second (default: search the highest that hold)",
    )
    group.add_argument(
        "--samples-per-query",
        metavar="N",
        type=positive,
        help="multi-stream and offline (default: 8)",
    )
    group.add_argument(
        "--concurrency",
        metavar="N",
        type=positive,
        help="server and offline: workers (default: 1)",
    )


def _add_scope(group: argparse._ArgumentGroup) -> None:
    for name, what in (("only", "measure these sections only"), ("skip", "leave these out")):
        group.add_argument(
            f"--{name}", metavar="SECTIONS", type=_list, help=f"{what}: {_SECTIONS}"
        )
    group.add_argument(
        "--batch-sizes", metavar="N,N", type=_counts, help="of throughput (default: 1,8,32)"
    )
    group.add_argument(
        "--thread-counts",
        metavar="N,N",
        type=_counts,
        help="of throughput (default: 1 and all cores)",
    )
    group.add_argument(
        "--processes",
        metavar="N",
        type=positive,
        help="in how many fresh processes start-up is measured (default: 5)",
    )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        dest="timeout_s",
        type=_above_zero,
        help="a step that takes this much longer than asked counts as hung (default: 120)",
    )
    group.add_argument(
        "--any-host", action="store_true", help="open artifacts for other hosts as well as can be"
    )
    group.add_argument(
        "--latency-table",
        metavar="FILE",
        type=Path,
        help="with a float model and its 8-bit artifact: write what every node takes in float and "
        "in integers here, which bmopt compile --latency-table places by",
    )
    group.add_argument("--html", metavar="FILE", type=Path, help="draw the report as an HTML page")
    group.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        type=Path,
        help="write the JSON document with every sample, which bmopt report draws",
    )
    group.add_argument(
        "--json", action="store_true", help="print that JSON document instead of the tables"
    )


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.workflow.benching.running import run_bench

    baseline = [] if arguments.against is None else [arguments.against]
    options = _options(arguments)
    _require_writable(arguments)
    with shown_progress() as progress:
        result = run_bench(
            [*baseline, *arguments.subjects],
            options,
            command=shlex.join(["bmopt", *sys.argv[1:]]),
            progress=progress,
        )
    _deliver(result, arguments)
    return result.exit_code


def _deliver(result: BenchResult, arguments: argparse.Namespace) -> None:
    """Write and print what was measured, whatever went wrong; then say what did."""
    from bmopt.core.files import write_text
    from bmopt.workflow.report_files import write_page

    if arguments.out is not None:
        write_text(arguments.out, result.document.to_json())
    if result.latency_table is not None:
        write_text(arguments.latency_table, result.latency_table.to_json())
    if arguments.html is not None:
        write_page([(arguments.html.stem, result.document)], arguments.html)
    if arguments.json:
        sys.stdout.write(result.document.to_json())
    else:
        from bmopt.cli.bench_tables import print_bench

        print_bench(result.document)
        if arguments.html is not None:
            say(f"report: {arguments.html}", style="bold")
    for line in (*result.failures.values(), *result.problems):
        print(f"bmopt: error: {line}", file=sys.stderr)
    if result.interrupted:
        print("bmopt: interrupted; what had ended by then was kept", file=sys.stderr)


def _require_writable(arguments: argparse.Namespace) -> None:
    """Check the output paths before minutes of work are done for them."""
    from bmopt.core.files import require_writable_file

    for path in (arguments.out, arguments.html, arguments.latency_table):
        if path is not None:
            require_writable_file(path)


def _options(arguments: argparse.Namespace) -> BenchOptions:
    from bmopt.workflow.benching.options import BenchOptions
    from bmopt.workflow.samples import SampleOptions

    names = (
        "data",
        "shapes",
        "batch_size",
        "threads",
        "seed",
        "duration_s",
        "precision",
        "block_ms",
        "metrics",
        "fail_if",
        "scenarios",
        "target_latency_ms",
        "target_qps",
        "samples_per_query",
        "concurrency",
        "batch_sizes",
        "thread_counts",
        "processes",
        "only",
        "skip",
        "any_host",
        "timeout_s",
    )
    samples = SampleOptions(**given(arguments, ("preprocess", "limit", "seed")))
    return BenchOptions(
        samples=samples,
        latency_table=arguments.latency_table is not None,
        board=board_of(arguments),
        **given(arguments, names),
    )


def _share(text: str) -> float:
    """Return a fraction above 0 and below 1, for argparse; ``1%`` is 0.01."""
    number = _number(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    if not 0.0 < number < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write 2% or 0.02")
    return number


def _above_zero(text: str) -> float:
    number = _number(text)
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _counts(text: str) -> list[int]:
    return [positive(part) for part in _list(text)]


VERB = Verb("bench", "measure models and artifacts beside each other", _add_arguments, _run)
