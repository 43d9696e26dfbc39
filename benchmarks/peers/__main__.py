"""bmopt's INT8 beside other INT8 tools, run live: accuracy, latency, size, and what they took.

For every labelled model, or the one that is named: bmopt and each tool calibrate on the same
samples, each tool in a virtual environment of its own; then one ``bmopt bench`` runs all that
they made in turns on the validation samples, one thread, batch 1. A tool that cannot be installed,
fails or makes a model that does not load is a row that says so.

    python benchmarks/peers/run.py [--only NAME] [--peer NAME ...] [--json FILE] [--write-docs]
    python benchmarks/peers/run.py --model FILE --calib SPEC --val SPEC
    python benchmarks/peers/run.py --from FILE.json --write-docs

The environments take 3 GB in build/peers and are used again. Not for Windows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shared_models import DEFAULT_DATA, SharedModel, shared_models

from bmopt.errors import BmoptError
from peers.catalogue import chosen
from peers.comparing import Comparison
from peers.pages import document, require_marks, write_docs
from peers.results import Results, read_results, write_results
from peers.tables import model_part

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = _ROOT / "docs" / "benchmarks.md"
_BUILD = _ROOT / "build"


def parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    found = argparse.ArgumentParser("benchmarks/peers/run.py", None, __doc__, formatter_class=form)
    found.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    found.add_argument("--only", default="", help="models whose name contains this")
    found.add_argument("--model", type=Path, help="a model of your own instead")
    found.add_argument("--calib", help="its calibration samples, as bmopt compile takes them")
    found.add_argument("--val", help="its validation samples")
    found.add_argument(
        "--peer", action="append", default=[], help="peers whose name starts so; repeatable"
    )
    found.add_argument("--calib-limit", type=int, default=256, help="at most; 0: all")
    found.add_argument("--val-limit", type=int, default=2000, help="at most; 0: all")
    found.add_argument("--duration", type=float, default=6.0, help="seconds of timing per row")
    found.add_argument("--environments", type=Path, default=_BUILD / "peers")
    found.add_argument("--work", type=Path, default=_BUILD / "peers-work", help="what is made")
    found.add_argument("--json", type=Path, help="write every figure behind the tables")
    found.add_argument("--from", dest="stored", type=Path, help="such a file, nothing measured")
    found.add_argument("--write-docs", action="store_true", help="put it in docs/benchmarks.md")
    return found


def models_of(args: argparse.Namespace) -> list[SharedModel]:
    """Return the models to measure.

    Raises:
        ValueError: There are none, or samples are missing.
    """
    if args.model is None:
        found = shared_models(args.data, args.only)
        if not found:
            raise ValueError(f"no model of {args.data} has {args.only!r} in its name")
        return found
    if not args.calib or not args.val:
        raise ValueError("--model needs --calib and --val")
    return [SharedModel(args.model.stem, args.model, args.calib, args.val)]


def command(args: argparse.Namespace) -> str:
    """Return what measures this again, with folders as the page calls them."""
    words = ["python benchmarks/peers/run.py"]
    words += (
        ["--data DATA"]
        if args.model is None
        else [f"--model {args.model.name}", "--calib ... --val ..."]
    )
    words += [f"--only {args.only}"] if args.only else []
    words += [f"--peer {name}" for name in args.peer]
    words += [f"--calib-limit {args.calib_limit} --val-limit {args.val_limit}"]
    return " ".join([*words, f"--duration {args.duration:g}"])


def measured(args: argparse.Namespace) -> Results:
    """Measure, printing each model's table as it comes."""
    comparison = Comparison(
        peers=chosen(args.peer),
        environments=args.environments,
        work=args.work,
        calib_limit=args.calib_limit,
        val_limit=args.val_limit,
        seconds=args.duration,
    )
    results = comparison.results(command(args), [])
    for model in models_of(args):
        found = comparison.measure(model)
        print(f"{model_part(found)}\n", flush=True)
        results = comparison.results(command(args), [*results.models, found])
        if args.json:
            write_results(results, args.json)
    return results


def run(args: argparse.Namespace) -> bool:
    """Measure, print and write; return whether every model could be measured."""
    if args.write_docs:
        require_marks(_PAGE)
    results = measured(args) if args.stored is None else read_results(args.stored)
    print(document(results, tables=args.stored is not None))
    if args.write_docs:
        write_docs(_PAGE, results)
    return not any(model.note for model in results.models)


def main() -> int:
    args = parser().parse_args()
    try:
        return int(not run(args))
    except (ValueError, OSError, BmoptError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
