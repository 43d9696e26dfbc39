"""Plans that a pass is given as the path of a file."""

from __future__ import annotations

from pathlib import Path

from bmopt.errors import PassError


def plan_text(name: str, path: str) -> str:
    """Return the text of the plan in a file, for the pass ``name``.

    Raises:
        PassError: It cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PassError(f"{name}: cannot read the plan {path!r} ({error})") from error
