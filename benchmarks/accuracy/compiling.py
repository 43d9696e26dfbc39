"""``bmopt compile`` as a process of its own, and what its report says."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.processes import output_of, run_measured
from shared_models import SharedModel

ARTIFACT = "artifact"

_CACHE = "cache"
_LIMIT_S = 4 * 3600.0
_LONGEST = 160


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What a command made.

    Attributes:
        note: Why there is no artifact.
        seconds: Of the whole process.
        peak_bytes: The most memory that it had.
        agreement: Share of the samples on which it and FP32 choose the same class.
        sqnr_db: Of the noisiest output.
        refine_seconds: What the refinement of weights and biases took.
    """

    note: str = ""
    seconds: float | None = None
    peak_bytes: int | None = None
    agreement: float | None = None
    sqnr_db: float | None = None
    refine_seconds: float | None = None


def compiled(
    model: SharedModel,
    target: str,
    flags: Sequence[str],
    folder: Path,
    *,
    cache: Path | None = None,
) -> Compiled:
    """Compile a model with every node that can be in INT8, and measure no latency.

    Args:
        model: The model.
        target: The target.
        flags: Further options.
        folder: Where the artifact and the logs go.
        cache: bmopt's cache; an empty one if left out.
    """
    if cache is None:
        cache = folder / _CACHE
        shutil.rmtree(cache, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "bmopt", "compile", str(model.path), "--target", target]
    argv += ["-o", str(folder / ARTIFACT), "--placement", "all", "--metric", "agreement"]
    argv += ["--duration", "0", "--json", "--calib", model.calib, *flags]
    log = folder / "compile.log"
    ending = run_measured(argv, log, _LIMIT_S, {"BMOPT_CACHE_DIR": str(cache)})
    if ending.error:
        note = told(ending.error, model, folder)
        return Compiled(note, seconds=ending.seconds, peak_bytes=ending.peak_bytes)
    report = json.loads(output_of(log).read_text(encoding="utf-8"))
    return dataclasses.replace(
        read_report(report), seconds=ending.seconds, peak_bytes=ending.peak_bytes
    )


def read_report(report: dict[str, Any]) -> Compiled:
    """Return what a report says of accuracy and of the refinement."""
    accuracy, refinement = report.get("accuracy") or {}, report.get("refinement") or {}
    noise = [float(value) for value in (accuracy.get("sqnr_db") or {}).values()]
    seconds = refinement.get("seconds")
    return Compiled(
        agreement=accuracy.get("agreement"),
        sqnr_db=min(noise, default=None),
        refine_seconds=None if seconds is None else float(seconds),
    )


def told(text: str, model: SharedModel, folder: Path) -> str:
    """Return a message in short, without the folders of this host."""
    text = text.removeprefix("bmopt: ").removeprefix("error: ")
    for known in (folder, model.path.resolve().parent, model.path.parent):
        text = text.replace(f"{known}/", "")
    return text[:_LONGEST]


def decibels(value: float | None) -> str:
    """Return a signal-to-noise ratio as text, a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.1f} dB" if math.isfinite(value) else f"{value} dB"
