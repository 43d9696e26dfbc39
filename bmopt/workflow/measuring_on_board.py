"""A fresh artifact on the board that it was compiled for: its answers and its latency there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmopt.bench.distortion import Sqnr
from bmopt.core.board import Board
from bmopt.core.runner import Array, Feeds
from bmopt.core.target import Target
from bmopt.errors import BmoptError
from bmopt.workflow.artifact import read_golden
from bmopt.workflow.benching.board_hub import BoardHub, BoardWorker
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.workers import Worker
from bmopt.workflow.boards import require_board_target
from bmopt.workflow.progress import Progress

_PATIENCE_S = 120.0
_WARM_UP_SHARE = 0.2

Golden = Sequence[tuple[Feeds, Mapping[str, Array]]]


def require_board(board: str, target: Target, progress: Progress) -> None:
    """Check that a board answers, before minutes of work are done for it.

    Args:
        board: As ``Board`` writes itself; empty for none.
        target: What is compiled.
        progress: Is told.

    Raises:
        BoardError: It does not.
        UsageError: What is compiled for ``target`` does not run on boards.
    """
    if board:
        require_board_target(target)
        progress.step("connect to the board")
        with BoardHub(Board.from_text(board), timeout_s=_PATIENCE_S):
            pass


def measured_on_board(
    folder: Path, board: str, *, threads: int, seconds: float, progress: Progress
) -> dict[str, Any]:
    """Return what became of an artifact on a board, as sections of a report.

    An artifact is none the worse for a board that drops off, so that is a warning.

    Args:
        folder: The artifact.
        board: As ``Board`` writes itself; empty for none.
        threads: Threads of a run there; 0 for all.
        seconds: Time limit of the measurement of latency; 0 leaves it out.
        progress: Is told.
    """
    if not board:
        return {}
    progress.step("measure on the board")
    try:
        section = _measured(folder, Board.from_text(board), threads, seconds)
    except BmoptError as error:
        note = " ".join(str(error).split())
        progress.warn(f"nothing was measured on the board: {note}")
        return {"on_board": {"board": board, "note": note}}
    return {"on_board": section}


def _measured(folder: Path, board: Board, threads: int, seconds: float) -> dict[str, Any]:
    golden = read_golden(folder)
    options = BenchOptions(threads=threads or 1, timeout_s=_PATIENCE_S)
    with (
        BoardHub(board, timeout_s=_PATIENCE_S) as hub,
        BoardWorker(folder.name, str(folder), options, hub) as worker,
    ):
        opened = worker.open(threads)
        facts = dataclasses.asdict(hub.facts)
        return {
            "board": str(board),
            "facts": {**facts, "lacking": sorted(hub.facts.lacking)},
            "threads": opened.settings["board_threads"],
            "golden_sqnr_db": _distance(worker, golden),
            **_latency(worker, [feeds for feeds, _ in golden], seconds),
            "note": "",
        }


def _distance(worker: Worker, golden: Golden) -> dict[str, float | None]:
    """Return the distance of the board's answers from the recorded ones in dB, by output."""
    ratios: dict[str, Sqnr] = {}
    for feeds, expected in golden:
        for name, answer in worker.ask("run", feeds=feeds).items():
            ratios.setdefault(name, Sqnr()).update(expected[name], answer)
    return {name: ratio.decibels() for name, ratio in ratios.items()}


def _latency(worker: Worker, feeds: Sequence[Feeds], seconds: float) -> dict[str, Any]:
    if seconds <= 0 or not feeds:
        return {"latency": None}
    worker.ask("feed", feeds=feeds)
    limit_ns = round(seconds * 1e9)
    warm_ns = round(_WARM_UP_SHARE * limit_ns)
    worker.ask("warm_up", seconds=seconds, limit_ns=warm_ns)
    _, latencies = worker.ask("block", seconds=seconds, least_ns=limit_ns - warm_ns)
    low, median, high = (float(np.quantile(latencies, q)) for q in (0.1, 0.5, 0.9))
    return {
        "latency": {"median_ns": median, "p10_ns": low, "p90_ns": high, "runs": len(latencies)}
    }
