"""Finished steps of a run, kept so that a run that was killed goes on where it was."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import bmopt
from bmopt import _ext
from bmopt.core.digest import of_file, of_json
from bmopt.core.files import write_text
from bmopt.core.records import from_value, to_value

_T = TypeVar("_T")


class Store:
    """Values in a folder, each beside what it was made from.

    Args:
        folder: One for every model.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def kept(
        self,
        name: str,
        key: Any,  # noqa: ANN401 - any JSON value
        kind: type[_T],
        make: Callable[[], _T],
        is_valid: Callable[[_T], bool] = lambda value: True,
    ) -> _T:
        """Return the value of a step, made only where it is not there from the same key.

        Args:
            name: Of the step, which is a file's.
            key: What the value depends on.
            kind: The dataclass of the value.
            make: Makes it.
            is_valid: Whether a value may be kept, and one that was kept be used: what it names may
                be gone.
        """
        path = self._folder / f"{name}.json"
        digest = of_json(to_value(key))
        found = _read(path, digest, kind)
        if found is not None and is_valid(found):
            return found
        made = make()
        if is_valid(made):
            text = json.dumps({"key": digest, "value": to_value(made)}, indent=1)
            write_text(path, text + "\n")
        return made


def _read(path: Path, digest: str, kind: type[_T]) -> _T | None:
    """Return what is stored; what is damaged or of an older form is made again."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return from_value(kind, stored["value"], path.name) if stored["key"] == digest else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


@functools.cache
def source_digest() -> str:
    """Return the digest of bmopt's own files: what another bmopt found is measured again."""
    folder = Path(bmopt.__file__).parent
    found = {str(path.relative_to(folder)): of_file(path) for path in folder.rglob("*.py")}
    return of_json({**found, "_ext": of_file(Path(_ext.__file__))})
