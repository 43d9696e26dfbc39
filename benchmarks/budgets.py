"""Accuracy under a budget: ``bmopt compile --max-drop`` on every labelled model.

The table tells which rung met the budget and how often validation samples were run.

    python benchmarks/budgets.py [--data DATA] [--drop POINTS] [--only NAME] [--json FILE]
        [--write-docs]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from marks import Marks
from shared_models import DEFAULT_DATA, compiled, sample_limits, shared_models

TARGETS = ("ort-int8", "trt-int8")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "accuracy.md"
HEADINGS = ("model", "scheme", "FP32", "INT8", "drop, points", "met", "by", "evaluations")


def row(model: str, target: str, report: dict[str, Any] | str) -> tuple[str, ...]:
    """Return a line of the table."""
    if isinstance(report, str):
        return (model, target, report, *[""] * (len(HEADINGS) - 3))
    found = report["budget"]
    low, high = found["interval"]
    met = ("yes" if found["met"] else "**no**") + ("" if found["decided"] else ", undecided")
    return (
        model,
        target,
        f"{found['reference']:.2%}",
        f"{found['candidate']:.2%}",
        f"{found['drop']:.2f} [{low:.2f}, {high:.2f}]",
        met,
        f"`{found['kept']}`",
        str(found["evaluations"]),
    )


def table(rows: list[tuple[str, ...]], command: str) -> str:
    """Return the rows as Markdown below the command that gives them."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows]
    return "\n".join([f"```sh\n{command}\n```", "", *(f"| {' | '.join(one)} |" for one in lines)])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--drop", type=float, default=0.3, help="the budget, in points of top-1")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--calib-limit", type=int, default=256)
    parser.add_argument("--val-limit", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write-docs", action="store_true", help="write the table to the page")
    args = parser.parse_args()
    reports, rows = {}, []
    flags = ("--max-drop", str(args.drop), "--placement", "all", *sample_limits(args))
    for model in shared_models(args.data, args.only):
        for target in TARGETS:
            with tempfile.TemporaryDirectory(prefix="bmopt-budget-") as folder:
                report = compiled(model, target, Path(folder), flags)
            reports[f"{model.name} {target}"] = report
            rows.append(row(model.name, target, report))
            print(*rows[-1], sep="  ", flush=True)
    if args.json:
        args.json.write_text(json.dumps(reports, indent=1), encoding="utf-8")
    if args.write_docs:
        text = table(rows, f"python benchmarks/budgets.py --data DATA --drop {args.drop}")
        Marks("budgets").put(PAGE, text)


if __name__ == "__main__":
    main()
