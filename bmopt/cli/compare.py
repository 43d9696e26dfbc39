"""``bmopt compare``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.cli.options import add_json, add_preprocess, add_running, add_shapes, given, whole
from bmopt.cli.output import print_json, print_table, say
from bmopt.cli.units import count_text, percent_text, size_text
from bmopt.cli.verb import Verb

if TYPE_CHECKING:
    from bmopt.bench.difference import OutputDifference, Tolerance
    from bmopt.workflow.comparing import CompareOptions, Comparison

_LACKING = "-"
_RIGHT = range(1, 9)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        help="A, and B, the reference: artifact folders, .onnx files or engine:file; A alone "
        "with --load",
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
    parser.add_argument(
        "--load", metavar="FILE", type=Path, help="use the inputs that --save stored"
    )
    parser.add_argument(
        "--save", metavar="FILE", type=Path, help="store inputs and both outputs in an .npz"
    )
    for name, what in (("atol", "absolute"), ("rtol", "difference relative to B's element")):
        parser.add_argument(f"--{name}", metavar="X", type=float, help=f"{what} tolerance")
    parser.add_argument(
        "--layers", action="store_true", help="compare the tensors that both graphs compute too"
    )
    parser.add_argument(
        "--any-host", action="store_true", help="open artifacts for other hosts as well as can be"
    )
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.errors import UsageError
    from bmopt.workflow.comparing import compare_models

    if len(arguments.models) > 2:
        raise UsageError(f"{len(arguments.models)} models: compare two, A and B")
    b = arguments.models[1] if len(arguments.models) == 2 else None
    options = _options(arguments)
    with shown_progress() as progress:
        found = compare_models(arguments.models[0], b, options, progress=progress)
    if arguments.json:
        print_json(found.to_dict())
    else:
        _print(found)
    return int(found.is_equal is False)


def _options(arguments: argparse.Namespace) -> CompareOptions:
    from bmopt.workflow.comparing import CompareOptions
    from bmopt.workflow.samples import SampleOptions

    samples = given(arguments, ("preprocess", "limit", "seed"))
    names = ("data", "shapes", "batch_size", "threads", "layers", "any_host", "load", "save")
    return CompareOptions(
        **given(arguments, names),
        samples=SampleOptions(**samples),
        tolerance=_tolerance(arguments),
    )


def _tolerance(arguments: argparse.Namespace) -> Tolerance | None:
    from bmopt.bench.difference import Tolerance

    if arguments.atol is None and arguments.rtol is None:
        return None
    return Tolerance(arguments.atol or 0.0, arguments.rtol or 0.0)


def _print(found: Comparison) -> None:
    rows = [(side, *_side(facts)) for side, facts in (("A", found.a), ("B", found.b))]
    print_table(("", "model", "target", "size", "digest"), rows, right=(3,))
    say()
    outside = "differ" if found.tolerance is None else "outside"
    headers = ("max abs", "mean abs", "max rel", outside, "cosine", "SQNR dB", "NaN/Inf")
    print_table(("output", *headers, "argmax"), [_row(o) for o in found.outputs], right=_RIGHT)
    for line in _notes(found):
        say(line)
    if found.layers:
        say()
        layers = [_row(layer)[:-1] for layer in found.layers]
        print_table(("tensor", *headers), layers, right=_RIGHT)
        say(_layers_note(found))
    say()
    say(_verdict(found))


def _side(facts: object) -> tuple[str, str, str, str]:
    known = dict(facts) if isinstance(facts, dict) else {}
    stored = f" (stored in {known['stored']})" if "stored" in known else ""
    size = known.get("size_bytes")
    return (
        f"{known.get('text', '?')}{stored}",
        str(known.get("target", "?")),
        size_text(size) if isinstance(size, int) else "?",
        str(known.get("digest", "?"))[:12],
    )


def _row(output: OutputDifference) -> tuple[str, ...]:
    bad = "0" if not any((*output.nan, *output.inf)) else _bad(output)
    return (
        output.name,
        _number(output.max_abs),
        _number(output.mean_abs),
        _number(output.max_rel),
        count_text(output.outside) if not output.problem else _LACKING,
        _LACKING if output.cosine is None else f"{output.cosine:.6f}",
        _LACKING if output.sqnr_db is None else _decibels(output.sqnr_db),
        bad,
        percent_text(output.argmax),
    )


def _bad(output: OutputDifference) -> str:
    (nan_a, nan_b), (inf_a, inf_b) = output.nan, output.inf
    return f"{nan_a}/{inf_a} | {nan_b}/{inf_b}"


def _number(value: float | None) -> str:
    return _LACKING if value is None else f"{value:.3g}"


def _decibels(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else str(value)


def _notes(found: Comparison) -> list[str]:
    notes = [f"output {name} is in {side} only" for name, side in found.lone.items()]
    for output in found.outputs:
        if output.problem:
            notes.append(f"output {output.name} cannot be compared: {output.problem}")
            continue
        if output.dtypes[0] != output.dtypes[1]:
            notes.append(f"output {output.name} is {' against '.join(output.dtypes)}")
        if output.worst is not None:
            at = ",".join(map(str, output.worst.index))
            values = f"{output.worst.a:.6g} against {output.worst.b:.6g}"
            notes.append(
                f"output {output.name} differs most in batch {output.worst.batch} at [{at}]: "
                f"{values}"
            )
    return notes


def _layers_note(found: Comparison) -> str:
    notes = [f"{len(found.layers)} tensors in common"]
    outside = [layer.name for layer in found.layers if not layer.is_within]
    if found.tolerance is not None:
        notes.append(
            f"the first outside the tolerance is {outside[0]}" if outside else "all equal"
        )
    measured = [(layer.sqnr_db, layer.name) for layer in found.layers if layer.sqnr_db is not None]
    if measured:
        decibels, name = min(measured)
        notes.append(f"the lowest SQNR is {_decibels(decibels)} dB, of {name}")
    return "; ".join(notes)


def _verdict(found: Comparison) -> str:
    on = f"on {found.samples} samples of {found.data}"
    if found.tolerance is None:
        return f"compared {on}; --atol or --rtol make it a test"
    limits = f"atol {found.tolerance.atol:g}, rtol {found.tolerance.rtol:g}"
    return f"{'equal' if found.is_equal else 'NOT equal'} within {limits} {on}"


VERB = Verb("compare", "compare the outputs of two models", _add_arguments, _run)
