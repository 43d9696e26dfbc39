"""Trials on disk: a folder with a file of one line per trial, which runs append to.

A record is keyed by what is computed, for which target, where, with how many threads; models
share what they have in common. The folder says which TVM the trials are of.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bmopt.backends.tvm.tuning.tasks import Schedule
from bmopt.backends.tvm.tuning.timing import Comparison
from bmopt.core.cache_folder import cache_folder
from bmopt.core.digest import of_json
from bmopt.core.files import write_text
from bmopt.errors import DatabaseError, OutputError

MARKER = "tuning.json"
RECORDS = "records.jsonl"
_FORMAT = 1
_CONFIRMED_BELOW = 0.99
"""A schedule is taken where its interval ends below this part of the default's time."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One trial.

    Attributes:
        key: Of the task.
        schedule: What was tried.
        seconds: What the trial took, compiling and all.
        threads: That it ran on.
        found: What was measured; None where it failed.
        error: Why it failed.
    """

    key: str
    schedule: Schedule
    seconds: float
    threads: int
    found: Comparison | None = None
    error: str = ""

    @property
    def is_better(self) -> bool:
        """Whether it beats the default by more than the noise."""
        return self.found is not None and self.found.high < _CONFIRMED_BELOW


def default_folder(version: str) -> Path:
    """Return where trials with a version of TVM are kept unless told."""
    return cache_folder() / "tvm-tuning" / version


class Database:
    """The trials of one target, at one place, in a folder."""

    def __init__(self, folder: Path, version: str, identity: Mapping[str, Any]) -> None:
        """Open a folder, or make it.

        Args:
            folder: The folder.
            version: TVM's.
            identity: Of the target and of where kernels are measured.

        Raises:
            DatabaseError: The folder is none of ours, or of another version.
            OutputError: It cannot be written.
        """
        self._path = folder / RECORDS
        self._identity = of_json(dict(identity))[:16]
        require_ours(folder, version)
        self._records: dict[str, list[Record]] = {}
        for one in self._stored():
            self._records.setdefault(one.key, []).append(one)

    def of(self, key: str) -> list[Record]:
        """Return the trials of a task, the oldest first."""
        return self._records.get(key, [])

    def best(self, key: str) -> Record | None:
        """Return the best trial of a task that beats the default."""
        better = [one for one in self.of(key) if one.is_better]
        return min(better, key=_ratio, default=None)

    def chosen(self, key: str) -> Schedule:
        """Return the best schedule of a task, empty for the default."""
        best = self.best(key)
        return best.schedule if best is not None else {}

    def append(self, record: Record) -> None:
        """Keep a trial, on disk before this returns.

        Raises:
            OutputError: The file cannot be written.
        """
        self._records.setdefault(record.key, []).append(record)
        line = json.dumps({"identity": self._identity, **dataclasses.asdict(record)})
        try:
            with self._path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # One write: whoever reads sees a whole line or, after a crash, one to skip.
                file.write(_break_after_rest(file) + line.encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from error

    def _stored(self) -> Iterator[Record]:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        except OSError as error:
            raise DatabaseError(f"{self._path}: cannot be read ({error.strerror})") from error
        for line in text.splitlines():
            document = _document(line)
            if document.pop("identity", None) == self._identity:
                record = _record(document)
                if record is not None:
                    yield record


def require_ours(folder: Path, version: str) -> None:
    """Make a database of a new or empty folder; check that another one is ours.

    Raises:
        DatabaseError: The folder holds something else, or is of another version.
        OutputError: It cannot be written.
    """
    marker = folder / MARKER
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        write_text(marker, json.dumps({"bmopt_tuning": _FORMAT, "tvm": version}) + "\n")
        return
    try:
        document = _document(marker.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        document = {}
    if "bmopt_tuning" not in document:
        raise DatabaseError(f"{folder}: is no tuning database; name a new or empty folder")
    found = (document["bmopt_tuning"], document.get("tvm"))
    if found != (_FORMAT, version):
        raise DatabaseError(
            f"{folder}: is a tuning database of TVM {found[1]} (format {found[0]}), this is "
            f"{version} (format {_FORMAT}); name another folder with --tuning-database"
        )


def _break_after_rest(file: Any) -> bytes:  # noqa: ANN401 - a binary file
    """Return what ends the half line that a killed run may have left."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _record(document: dict[str, Any]) -> Record | None:
    try:
        found = document.pop("found")
        schedule = {name: _value(value) for name, value in document.pop("schedule").items()}
        comparison = None if found is None else Comparison(**found)
        return Record(schedule=schedule, found=comparison, **document)
    except (TypeError, KeyError, AttributeError):
        return None


def _value(value: Any) -> Any:  # noqa: ANN401 - a decision
    return tuple(value) if isinstance(value, list) else value


def _ratio(record: Record) -> float:
    assert record.found is not None
    return record.found.ratio
