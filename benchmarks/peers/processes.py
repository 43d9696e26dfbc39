"""Commands of the tools as child processes: what they printed, how long and how much they took."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("measured.py")
_LONGEST = 160


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        error: Why it failed, in a line; empty where it did not.
        seconds: Of the whole process.
        peak_bytes: The most memory that it had resident.
    """

    error: str = ""
    seconds: float | None = None
    peak_bytes: int | None = None


def run_measured(
    argv: Sequence[str | Path],
    log: Path,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
) -> Ending:
    """Run a command to its end, its two streams in ``log.txt`` and ``log.out``.

    Args:
        argv: The command.
        log: The file for its errors; its output goes into one beside it.
        limit_s: Seconds it may take.
        environment: Variables to add.
    """
    record = log.with_suffix(".json")
    record.unlink(missing_ok=True)
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(record), str(limit_s)]
    with output_of(log).open("wb") as out, log.open("wb") as err:
        subprocess.run(
            [*launcher, *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    if not record.is_file():
        return Ending(error=f"cannot be started: {last_line(log)}")
    found = json.loads(record.read_text(encoding="utf-8"))
    return Ending(
        error=_error(found["code"], log, limit_s if found["late"] else None),
        seconds=found["seconds"],
        peak_bytes=found["peak_bytes"],
    )


def output_of(log: Path) -> Path:
    """Return the file that has the output of the command whose errors are in ``log``."""
    return log.with_suffix(".out")


def last_line(log: Path) -> str:
    """Return the last line that says something, shortened."""
    text = "\n".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in (output_of(log), log)
        if path.is_file()
    )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_LONGEST] if lines else "it printed nothing"


def _error(code: int, log: Path, late_s: float | None) -> str:
    if late_s is not None:
        return f"took longer than {late_s:g} s"
    return last_line(log) if code else ""
