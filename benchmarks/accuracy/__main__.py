"""bmopt's INT8 accuracy beside other tools', run live, with what it gains and what it costs.

For every labelled model, or the one that is named, and for the schemes ort-int8 and trt-int8: how
often what bmopt and each tool make agrees with FP32, and top-1; the latency of ort-int8 as it
comes; what quantising takes; with --ablation, what every step of it buys. Tools run in the
environments of benchmarks/peers, which are made where they are missing (3 GB).

    python benchmarks/accuracy.py [--only NAME] [--ablation] [--json FILE] [--write-docs]
    python benchmarks/accuracy.py --from FILE.json --write-docs

What is finished is kept in --work: a run that was killed goes on where it was, and what another
bmopt found is measured again. Remove the folder to measure all again. Not for Windows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from peers.catalogue import Peer, chosen
from shared_models import DEFAULT_DATA, shared_models

from accuracy.goals import schemes
from accuracy.measuring import Settings, Study
from accuracy.pages import document, require_marks, write_docs
from accuracy.results import Results, read_results, write_results
from bmopt.errors import BmoptError

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = _ROOT / "docs" / "accuracy.md"
_BUILD = _ROOT / "build"


def parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    found = argparse.ArgumentParser("benchmarks/accuracy.py", None, __doc__, formatter_class=form)
    found.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    found.add_argument("--only", default="", help="models whose name contains this")
    found.add_argument("--schemes", default="", help="ort-int8,trt-int8 or one of them")
    found.add_argument("--preset", default="balanced", help="bmopt's: fast, balanced or best")
    found.add_argument("--calib-limit", type=int, default=256, help="samples at most; 0: all")
    found.add_argument("--val-limit", type=int, default=2000, help="samples at most; 0: all")
    found.add_argument("--peers", default="", help="those whose names start so, with commas")
    found.add_argument("--no-peers", action="store_true", help="bmopt alone")
    found.add_argument(
        "--duration", type=float, default=6.0, help="seconds of timing per row; 0: no latency"
    )
    found.add_argument("--ablation", action="store_true", help="compile with every step too")
    found.add_argument("--environments", type=Path, default=_BUILD / "peers")
    found.add_argument("--work", type=Path, default=_BUILD / "accuracy", help="what is made")
    found.add_argument("--json", type=Path, help="write every figure behind the tables")
    found.add_argument("--from", dest="stored", type=Path, help="such a file, nothing measured")
    found.add_argument("--write-docs", action="store_true", help="put it in docs/accuracy.md")
    return found


def peers_of(args: argparse.Namespace) -> list[Peer]:
    """Return the peers that are compared with.

    Raises:
        ValueError: A name fits none.
    """
    names = [name.strip() for name in args.peers.split(",") if name.strip()]
    return [] if args.no_peers else chosen(names)


def settings_of(args: argparse.Namespace) -> Settings:
    """Return what is measured.

    Raises:
        ValueError: A peer or a scheme does not exist.
    """
    return Settings(
        peers=tuple(peers_of(args)),
        schemes=tuple(schemes(args.schemes)),
        preset=args.preset,
        calib_limit=args.calib_limit,
        val_limit=args.val_limit,
        seconds=args.duration,
        has_ladder=args.ablation,
        work=args.work,
        environments=args.environments,
    )


def command(args: argparse.Namespace) -> str:
    """Return what measures this again, with folders as the page calls them."""
    words = ["python benchmarks/accuracy.py --data DATA"]
    words += [
        f"--{name} {value}"
        for name in ("only", "schemes", "peers")
        if (value := getattr(args, name))
    ]
    words += ["--no-peers"] if args.no_peers else []
    words += [f"--preset {args.preset}"]
    words += [f"--calib-limit {args.calib_limit} --val-limit {args.val_limit}"]
    words += [f"--duration {args.duration:g}", *(["--ablation"] if args.ablation else [])]
    return " ".join(words)


def measured(args: argparse.Namespace) -> Results:
    """Measure one model after the other, writing what there is after each.

    Raises:
        ValueError: No model has that name, or as ``settings_of`` raises it.
    """
    models = shared_models(args.data, args.only)
    if not models:
        raise ValueError(f"no model of {args.data} has {args.only!r} in its name")
    study, found = Study(settings_of(args)), []
    for model in models:
        found.append(study.measure(model))
        results = study.results(command(args), found)
        if args.json:
            write_results(results, args.json)
    return results


def run(args: argparse.Namespace) -> bool:
    """Measure, print and write; return whether every model could be measured."""
    if args.write_docs:
        require_marks(_PAGE)
    results = measured(args) if args.stored is None else read_results(args.stored)
    print(document(results))
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
