"""What pruning gives and takes: channels cut, re-fitted, trained, made sparse, on shared models.

Every row runs the commands that a user would: ``bmopt prune``, ``optimize``, ``finetune``,
``bench``. Budgets and weights are fitted on calibration images; validation images only judge.

    python benchmarks/pruning.py [--data DATA] [--rows NAME]... [--models NAME]...
        [--train-minutes M] [--seeds N] [--calib-limit N] [--val-limit N] [--json FILE]
        [--write-docs]

The rows ``distilled`` and ``distilled-latency`` train for M minutes each, the unpruned model as
long as the pruned one, with N seeds: between two of them, the difference of the two models moves
by some tenths of a point. FILE is written after every row and model, and every seed; what it
holds already is not measured again, seeds beyond N included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from marks import Marks
from shared_models import DEFAULT_DATA, SharedModel, sample_limits, shared_models

from bmopt.core.files import write_text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "pruning.md"
COMMAND = "python benchmarks/pruning.py --data DATA --seeds 2 --json FILE --write-docs"
HEADINGS = ("what", "model", "latency", "MACs", "drop, points", "beside it")
RESNETS = ("resnet20_cifar10", "resnet32_cifar10")
TRAINED = ("distilled", "distilled-latency")

Row = tuple[str, ...]


class Kept:
    """What is measured, by row and model, in a file where one is asked for."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[str, list[Row]] = {}
        if path is not None and path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            self._rows = {key: [tuple(row) for row in rows] for key, rows in stored.items()}

    def has(self, key: str) -> bool:
        """Whether rows are kept."""
        return key in self._rows

    def rows(self, key: str, make: Callable[[], list[Row]]) -> list[Row]:
        """Return rows, measured where they are not kept."""
        if key not in self._rows:
            self._rows[key] = make()
            if self._path is not None:
                write_text(self._path, json.dumps(self._rows, indent=1) + "\n")
        return self._rows[key]


class Runs:
    """Commands on one folder of data, with the samples that every row uses."""

    def __init__(self, args: argparse.Namespace, scratch: Path) -> None:
        self.args, self.scratch = args, scratch
        self.kept = Kept(args.json)
        self.models = {model.name: model for model in shared_models(args.data)}
        self.limits = sample_limits(args)

    def document(self, *argv: str, codes: Sequence[int] = (0, 3)) -> dict[str, Any]:
        """Return the JSON that a command prints."""
        done = self.ended(*argv)
        if done.returncode not in codes:
            raise SystemExit(f"{' '.join(argv)}: {done.stderr[-500:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def ended(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command of bmopt, and return how it ended."""
        command = [sys.executable, "-m", "bmopt", *argv, "--json"]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def pruned(self, model: SharedModel, out: Path, *flags: str) -> dict[str, Any]:
        """Return the report of ``bmopt prune``."""
        samples = ("--calib", model.calib, "--val", model.val, *self.limits)
        return self.document("prune", str(model.path), "-o", str(out), *samples, *flags)

    def drop(self, model: SharedModel, other: Path, than: Path | None = None) -> float:
        """Return how many points of top-1 a model has less than another, the source by default."""
        scores = [self.top1(model, one) for one in (than or model.path, other)]
        return scores[0] - scores[1]

    def top1(self, model: SharedModel, path: Path) -> float:
        """Return the top-1 of a model in per cent."""
        flags = ("--data", model.val, "--only", "accuracy", "--limit", str(self.args.val_limit))
        found = self.document("bench", str(path), *flags)
        top1 = next(one for one in found["accuracy"] if one["metric"] == "top1")
        return 100.0 * float(top1["candidate"])

    def trained(self, model: SharedModel, start: Path, out: Path, seed: int) -> Path:
        """Distil the source into ``start``, and return the trained model."""
        data = model.calib.replace("calib1024", "train20000")
        flags = ("--teacher", str(model.path), "--data", data, "-o", str(out))
        flags += ("--augment", "flip", "--augment", "crop:4", "--threads", "2")
        flags += ("--lr", "2e-3", "--seed", str(seed))
        self.document("finetune", str(start), *flags, "--time", f"{self.args.train_minutes}min")
        return out


def chosen(report: dict[str, Any]) -> dict[str, Any]:
    """Return the point that a pruning chose."""
    return next(point for point in report["trials"] if point["name"] == report["chosen"])


def number(value: float | None, digits: int = 2) -> str:
    """Return a number, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def re_fitted(runs: Runs, name: str) -> list[Row]:
    """Seven tenths of the MACs, without training; cutting alone beside it."""
    model, out = runs.models[name], runs.scratch / f"{name}.macs.onnx"
    found = chosen(runs.pruned(model, out, "--macs", "0.7"))
    bare = runs.scratch / f"{name}.bare.onnx"
    plan = out.with_suffix(".prune.json")
    passes = f'simplify,prune-channels{{plan="{plan}"}}'
    runs.document("optimize", str(model.path), "-p", passes, "-o", str(bare), "--no-verify")
    alone = runs.drop(model, bare)
    return [_row("30 % of MACs cut, re-fitted", name, found, f"cut alone: {alone:.2f}")]


def distilled(runs: Runs, name: str) -> list[Row]:
    """The same, distilled; below the unpruned model with the same training."""
    model, out = runs.models[name], runs.scratch / f"{name}.macs.onnx"
    found = chosen(runs.pruned(model, out, "--macs", "0.7"))
    return [_after_training(runs, model, out, found, "30 % of MACs cut, distilled")]


def _after_training(
    runs: Runs, model: SharedModel, out: Path, found: dict[str, Any], what: str
) -> Row:
    pairs = _pairs(runs, model, out, what)
    lost = sum(whole - small for whole, small in pairs) / len(pairs)
    tops = ", ".join(f"{whole:.2f} and {small:.2f} %" for whole, small in pairs)
    beside = f"top-1 of the unpruned and the pruned model after training: {tops}"
    return (what, model.name, number(found["latency"], 3), number(found["macs"], 3), number(lost),
            beside)  # fmt: skip


def _pairs(runs: Runs, model: SharedModel, pruned: Path, what: str) -> list[tuple[float, float]]:
    """Return the top-1 of the unpruned and of the pruned model after the same training, by seed.

    Seeds that are kept count, however many are asked for.
    """

    def tops(seed: int) -> list[Row]:
        whole = runs.trained(model, model.path, runs.scratch / f"{model.name}.{seed}.onnx", seed)
        small = runs.trained(model, pruned, pruned.with_suffix(f".{seed}.onnx"), seed)
        return [(str(runs.top1(model, whole)), str(runs.top1(model, small)))]

    key = f"{what}, {model.name}, {runs.args.train_minutes:g} min, seed"
    found, seed = [], 0
    while seed < runs.args.seeds or runs.kept.has(f"{key} {seed}"):
        ((whole, small),) = runs.kept.rows(f"{key} {seed}", partial(tops, seed))
        found.append((float(whole), float(small)))
        seed += 1
    return found


def distilled_latency(runs: Runs, name: str) -> list[Row]:
    """To 0.68 of the latency, distilled."""
    model, out = runs.models[name], runs.scratch / f"{name}.latency.onnx"
    found = chosen(runs.pruned(model, out, "--latency", "0.68"))
    return [_after_training(runs, model, out, found, "32 % of latency cut, distilled")]


def latency(runs: Runs, name: str) -> list[Row]:
    """Seven tenths of the latency, as measured."""
    rows = []
    for target in ("ort-fp32", "ort-int8"):
        flags = ("--target", target, "--latency", "0.7")
        report = runs.pruned(runs.models[name], runs.scratch / "latency.onnx", *flags)
        found, source = chosen(report), report["trials"][0]
        left = found["latency"] / source["latency"]
        beside = f"{left:.3f} of the uncut model's on the target"
        rows.append(_row(f"`{target}` to 0.7 of the latency", name, found, beside))
    return rows


def sparse(runs: Runs, name: str) -> list[Row]:
    """2:4 without training; magnitude alone beside it."""
    model, out = runs.models[name], runs.scratch / "sparse.onnx"
    found = chosen(runs.pruned(model, out, "--sparsity", "2:4"))
    bare = runs.scratch / "magnitude.onnx"
    passes = "simplify,sparsify{pattern=2:4}"
    runs.document("optimize", str(model.path), "-p", passes, "-o", str(bare), "--no-verify")
    beside = f"magnitude alone: {runs.drop(model, bare):.2f}"
    return [_row("2:4, weights fitted", name, found, beside)]


def pareto(runs: Runs, name: str) -> list[Row]:
    """Pruned and quantised, within a drop."""
    flags = ("--target", "ort-int8", "--max-drop", "1.5")
    report = runs.pruned(runs.models[name], runs.scratch / "pareto.onnx", *flags)
    return [
        _row("`ort-int8`, in front", name, point, point["name"])
        for point in report["trials"]
        if point["name"] in report["pareto"]
    ]


def zoo(runs: Runs, name: str) -> list[Row]:
    """A quarter of the channels of every group, on every model of a folder."""
    models = sorted((runs.args.data / name).glob("*.onnx"))
    ends = Counter(_quartered(runs, path) for path in models)
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return [("a quarter of every group cut", f"{len(models)} of the zoo", "", "", "", told)]


def _quartered(runs: Runs, path: Path) -> str:
    """Return how a model of the zoo ends; what is left is run."""
    out, again = runs.scratch / "quarter.onnx", runs.scratch / "again.onnx"
    passes = "simplify,prune-channels{ratio=0.25}"
    done = runs.ended("optimize", str(path), "-p", passes, "-o", str(out))
    if done.returncode == 2 and len(done.stderr.splitlines()) == 1:
        return "refused in a line"
    if done.returncode != 0:
        return f"crashed ({path.name})"
    records = json.loads(done.stdout)["log"]["records"]
    cut = next(one for one in records if one["name"].startswith("prune-channels"))
    ran = runs.ended("optimize", str(out), "-p", "infer-shapes", "-o", str(again))
    if ran.returncode or json.loads(ran.stdout)["log"]["verification"]["verdict"] != "equivalent":
        return f"does not run ({path.name})"
    return "cut, and run" if cut["modified"] else "left whole, with the reason for every group"


def _row(what: str, name: str, point: dict[str, Any], beside: str) -> Row:
    values = (number(point["latency"], 3), number(point["macs"], 3), number(point["drop"]))
    return (what, name, *values, beside)


Measure = Callable[[Runs, str], list[Row]]

ROWS: dict[str, tuple[Measure, Sequence[str]]] = {
    "re-fitted": (re_fitted, RESNETS),
    "latency": (latency, RESNETS),
    "sparse": (sparse, RESNETS[1:]),
    "pareto": (pareto, RESNETS[:1]),
    "distilled": (distilled, RESNETS),
    "distilled-latency": (distilled_latency, RESNETS[1:]),
    "zoo": (zoo, ["zoo/models"]),
}


def table(rows: list[Row], command: str) -> str:
    """Return the rows as Markdown below the command that gives them."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows]
    return "\n".join([f"```sh\n{command}\n```", "", *(f"| {' | '.join(one)} |" for one in lines)])


def _asked(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the rows and models to be measured."""
    return [
        (row, name)
        for row in args.rows or ROWS
        for name in ROWS[row][1]
        if not args.models or name in args.models
    ]


def _found(runs: Runs, which: str, name: str) -> list[Row]:
    """Return rows; of those with training, only the trainings are kept."""
    make = partial(ROWS[which][0], runs, name)
    if which in TRAINED:
        return make()
    limits = "{calib_limit} and {val_limit} samples".format_map(vars(runs.args))
    return runs.kept.rows(f"{which} {name}, {limits}", make)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--rows", action="append", choices=list(ROWS), help="some rows only")
    parser.add_argument("--models", action="append", choices=RESNETS, help="some models only")
    parser.add_argument("--train-minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=1, help="trainings whose mean is shown")
    parser.add_argument("--calib-limit", type=int, default=1024)
    parser.add_argument("--val-limit", type=int, default=5000)
    parser.add_argument("--json", type=Path, help="keeps what is measured, and is gone on from")
    parser.add_argument("--write-docs", action="store_true", help="write the table to the page")
    args = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bmopt-pruning-") as folder:
        runs = Runs(args, Path(folder))
        for which, name in _asked(args):
            found = _found(runs, which, name)
            rows += found
            print(*("  ".join(one) for one in found), sep="\n", flush=True)
    if args.write_docs:
        Marks("pruning").put(PAGE, table(rows, COMMAND))


if __name__ == "__main__":
    main()
