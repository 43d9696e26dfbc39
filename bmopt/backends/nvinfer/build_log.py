"""The SDK's log of a build: kept as one JSON line per message, read for causes and warnings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from bmopt.backends.nvinfer.sdk_log import SdkLog

LAYERS = "Layers:"
"""How the message starts that lists an engine's kernels."""

_ERRORS = ("ERROR", "INTERNAL_ERROR")
_LONGEST = 300
_WORTH_KEEPING = ("ERROR", "INTERNAL_ERROR", "WARNING", "INFO")
_NO_DRIVER = "catchCudaError"
_INTERNAL = "(foreignNode)"
"""The SDK's name for the part of it that most of a graph goes through."""
_CODE = re.compile(r"^(?:\[\S*\] |[\w:]+: )?Error Code \d+: [^(]*\((?P<text>.*)\)\s*$", re.DOTALL)
_ORIGIN = re.compile(r"\s*\b(?:In|at) \w+ at \S+:\d+\s*$")
_INSIDE = re.compile(r"Myelin|CHECK\(|\bAssertion .* failed|Could not find any implementation")
_PLACE = re.compile(r"^\[[\w.]+:\d+: \w+\] ")


class BuildLog(SdkLog):
    """Writes what the SDK says to a file as it says it, so that it outlives a crash.

    Verbose messages are left out but for the list of kernels: there are tens of megabytes.
    """

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def add(self, severity: str, message: str) -> None:
        """Take a message of the SDK's."""
        super().add(severity, message)
        if severity in _WORTH_KEEPING or message.startswith(LAYERS):
            self._file.write(json.dumps([severity, message]) + "\n")
            self._file.flush()


def read_log(path: Path) -> list[tuple[str, str]]:
    """Return (severity, message) of a log's messages; what a crash cut off is left out."""
    return list(_entries(path)) if path.exists() else []


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                severity, message = json.loads(line)
            except ValueError:
                continue
            yield str(severity), str(message)


def warnings_in(log: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return what the SDK warned of, repeated messages once, each in one line."""
    said = (" ".join(text.split()) for severity, text in log if severity == "WARNING")
    return tuple(dict.fromkeys(text.removeprefix(_INTERNAL).strip() for text in said))


def cause_in(log: Sequence[tuple[str, str]]) -> str:
    """Return why a build failed, in one line; empty where the log does not tell."""
    errors = [text for severity, text in log if severity in _ERRORS]
    # Without a driver every other error is followed by one about it, which explains nothing.
    telling = [text for text in errors if _NO_DRIVER not in text] or errors
    return plain(telling[0]) if telling else ""


def fails_inside(cause: str) -> bool:
    """Whether a cause is a check of the SDK's on itself, rather than on the model or options."""
    return _INSIDE.search(cause) is not None


def plain(message: str) -> str:
    """Return an SDK's error without error codes and places in its source, in one line."""
    text = message.strip()
    match = _CODE.match(text)
    if match:
        text = match["text"]
    text = _ORIGIN.sub("", _PLACE.sub("", text))
    return " ".join(text.split())[:_LONGEST].rstrip(". ")
