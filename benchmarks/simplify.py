"""Nodes, size, validity, results and time of ``bmopt optimize`` beside onnxsim and OnnxSlim.

Every tool runs as its command, in its own process, on a copy of the model. Nodes are counted
through sub-graphs and functions. A result is *valid* if ``onnx.checker`` says so (or said no of
the input already), and *equal* if ONNX Runtime, its optimisations off, gives the input's outputs
for two seeded random feeds. Times are whole processes, bmopt and onnxsim in turns (A B B A), with
``--no-verify``; what verification adds is measured once, apart.

Larger means by more than 10 % and 1 KB, external data included.

    python benchmarks/simplify.py [MODEL.onnx ...] [--peers PYTHON] [--rounds 2] [--json OUT]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import onnx
from rich.console import Console
from rich.table import Table

from bmopt.backends.onnxruntime.session import open_file, open_plain
from bmopt.core.runner import Feeds
from bmopt.errors import BmoptError
from bmopt.graph.defaults import freeze_defaults
from bmopt.graph.model_io import load_model
from bmopt.optimizer.probe_feeds import seeded_feeds
from bmopt.optimizer.tolerance import Tolerance, first_difference

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
_GROWTH = 1.1
_TIMEOUT_S = 300


@dataclasses.dataclass(frozen=True)
class Tool:
    """A command; ``{}`` stands for the input and the output."""

    name: str
    command: tuple[str, ...]

    def run(self, source: Path, out: Path) -> float | None:
        """Return the seconds it took, None where it failed or wrote nothing."""
        words = [
            str(source) if w == "{in}" else str(out) if w == "{out}" else w for w in self.command
        ]
        start_ns = time.perf_counter_ns()
        try:
            done = subprocess.run(words, capture_output=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return None
        seconds = (time.perf_counter_ns() - start_ns) / 1e9
        return seconds if done.returncode == 0 and out.is_file() else None


@dataclasses.dataclass(frozen=True)
class Result:
    """What one tool made of one model; ``nodes`` is None where it made nothing."""

    nodes: int | None = None
    size_bytes: int = 0
    valid: bool = False
    equal: bool | None = None

    def counts(self, limit_bytes: float) -> bool:
        """Whether it is something to be measured against."""
        good = self.nodes is not None and self.valid and self.equal is not False
        return good and self.size_bytes <= limit_bytes


@dataclasses.dataclass(frozen=True)
class Row:
    """One model."""

    model: str
    nodes: int
    size_bytes: int
    results: dict[str, Result]
    seconds: float | None
    onnxsim_seconds: float | None
    verify_seconds: float | None

    @property
    def best_peer(self) -> int | None:
        """Fewest nodes of a valid and equal peer result that is at most 10 % larger."""
        limit = _GROWTH * self.size_bytes
        peers = [r.nodes for n, r in self.results.items() if n != "bmopt" and r.counts(limit)]
        return min((nodes for nodes in peers if nodes is not None), default=None)

    @property
    def ratio(self) -> float | None:
        """Time as a ratio to onnxsim's."""
        if self.seconds is None or not self.onnxsim_seconds:
            return None
        return self.seconds / self.onnxsim_seconds

    @property
    def misses(self) -> list[str]:
        """Which of the goals are missed."""
        ours = self.results["bmopt"]
        best, ratio = self.best_peer, self.ratio
        checks = {
            "no result": ours.nodes is None,
            "invalid": not ours.valid,
            "not equal": ours.equal is False,
            "nodes": best is not None and (ours.nodes or 0) > best,
            "size": ours.size_bytes > _GROWTH * self.size_bytes + 1024,
            "time": ratio is not None and ratio > 1.5,
        }
        return [name for name, missed in checks.items() if missed]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    tools = _tools(Path(options.peers))
    rows = []
    for path in options.models or _shared_models():
        rows.append(measure(path, tools, options.rounds))
        print(f"{path.name}: {', '.join(rows[-1].misses) or 'ok'}", file=sys.stderr)
    _show(rows, [tool.name for tool in tools])
    if options.json:
        document = [{**dataclasses.asdict(row), "ratio": row.ratio} for row in rows]
        options.json.write_text(json.dumps(document, indent=1))
    return int(any(row.misses for row in rows))


def measure(path: Path, tools: Sequence[Tool], rounds: int) -> Row:
    with tempfile.TemporaryDirectory(prefix="bmopt-bench-") as name:
        folder = Path(name)
        source = _copy(path, folder / "in")
        results, outs = {}, {}
        feeds = _feeds(source)
        for tool in tools:
            outs[tool.name] = folder / tool.name / path.name
            outs[tool.name].parent.mkdir()
            tool.run(source, outs[tool.name])
            results[tool.name] = _judge(source, outs[tool.name], feeds)
        ours, onnxsim = tools[0], tools[1]
        times = _interleaved((ours, onnxsim), source, folder, rounds)
        checked = Tool("bmopt with verification", ours.command[:-1])
        verified = checked.run(source, folder / "verified.onnx") if rounds else None
    seconds = _median(times[ours.name])
    return Row(
        model=path.stem,
        nodes=_count(path),
        size_bytes=_size(path),
        results=results,
        seconds=seconds,
        onnxsim_seconds=_median(times[onnxsim.name]),
        verify_seconds=None if verified is None or seconds is None else verified - seconds,
    )


def _median(times: Sequence[float]) -> float | None:
    return statistics.median(times) if times else None


def _interleaved(
    pair: tuple[Tool, Tool], source: Path, folder: Path, rounds: int
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {tool.name: [] for tool in pair}
    for _ in range(rounds):
        for tool in (*pair, *reversed(pair)):
            out = folder / "timed.onnx"
            out.unlink(missing_ok=True)
            seconds = tool.run(source, out)
            if seconds is not None:
                times[tool.name].append(seconds)
    return times


def _judge(source: Path, out: Path, feeds: Sequence[Feeds]) -> Result:
    if not out.is_file():
        return Result()
    valid = _is_valid(out) or not _is_valid(source)
    return Result(_count(out), _size(out), valid, _is_equal(source, out, feeds))


def _is_valid(path: Path) -> bool:
    try:
        onnx.checker.check_model(str(path))
    except (onnx.checker.ValidationError, ValueError, RuntimeError):
        return False
    return True


def _is_equal(source: Path, out: Path, feeds: Sequence[Feeds]) -> bool | None:
    if not feeds:
        return None
    try:
        with open_file(source) as left, open_file(out) as right:
            pairs = [(left.run(feed), right.run(feed)) for feed in feeds]
    except BmoptError:
        return False
    return all(first_difference(want, got, Tolerance()) is None for want, got in pairs)


def _feeds(path: Path) -> tuple[Feeds, ...]:
    try:
        model = load_model(path)
    except BmoptError:
        return ()
    freeze_defaults(model)
    return seeded_feeds(open_plain, model)


def _count(path: Path) -> int:
    model = onnx.load(path, load_external_data=False)
    functions = sum(_count_nodes(function.node) for function in model.functions)
    return functions + _count_nodes(model.graph.node)


def _count_nodes(nodes: Sequence[onnx.NodeProto]) -> int:
    total = len(nodes)
    for node in nodes:
        for attribute in node.attribute:
            total += _count_nodes(attribute.g.node)
            total += sum(_count_nodes(graph.node) for graph in attribute.graphs)
    return total


def _size(path: Path) -> int:
    return path.stat().st_size + sum(part.stat().st_size for part in _external(path))


def _external(path: Path) -> list[Path]:
    model = onnx.load(path, load_external_data=False)
    places = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [path.parent / place for place in sorted(places)]


def _copy(path: Path, folder: Path) -> Path:
    folder.mkdir()
    for part in (path, *_external(path)):
        shutil.copyfile(part, folder / part.name)
    return folder / path.name


def _tools(peers: Path) -> list[Tool]:
    ours = (sys.executable, "-m", "bmopt", "optimize", "{in}", "-o", "{out}", "--no-verify")
    found = [Tool("bmopt", ours)]
    for name in ("onnxsim", "onnxslim"):
        command = peers.parent / name
        if command.is_file():
            found.append(Tool(name, (str(command), "{in}", "{out}")))
    if len(found) < 2:
        raise SystemExit(f"{peers.parent}: no onnxsim command there; name another --peers")
    return found


def _shared_models() -> list[Path]:
    if not _SHARED.is_dir():
        raise SystemExit("the shared models are not beside this checkout; name models")
    return sorted([*_SHARED.glob("models/*.onnx"), *_SHARED.glob("zoo/models/*.onnx")])


def _show(rows: Sequence[Row], tools: Sequence[str]) -> None:
    table = Table("model", "nodes", *tools, "size", "s", "ratio", "verify s", "misses")
    for row in rows:
        ours = row.results["bmopt"]
        cells = [_cell(row.results[tool], row) for tool in tools]
        size = f"{ours.size_bytes / row.size_bytes:.2f}"
        times = [_number(x) for x in (row.seconds, row.ratio, row.verify_seconds)]
        table.add_row(row.model, str(row.nodes), *cells, size, *times, ", ".join(row.misses))
    Console(width=160).print(table)
    print(f"{sum(not row.misses for row in rows)} of {len(rows)} models reach every goal")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(result: Result, row: Row) -> str:
    if result.nodes is None:
        return "failed"
    marks = [name for name, bad in _faults(result, row).items() if bad]
    return " ".join([str(result.nodes), *marks])


def _faults(result: Result, row: Row) -> dict[str, bool]:
    return {
        "invalid": not result.valid,
        "differs": result.equal is False,
        "unchecked": result.equal is None,
        "large": result.size_bytes > _GROWTH * row.size_bytes + 1024,
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument(
        "--peers", default=sys.executable, help="a Python with onnxsim (and onnxslim) beside it"
    )
    parser.add_argument("--rounds", type=int, default=2, help="A B B A rounds of timing, or 0")
    parser.add_argument("--json", type=Path, help="write every figure there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
