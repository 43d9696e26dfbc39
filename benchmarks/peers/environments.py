"""A virtual environment for every tool, made from its pinned requirements and used again."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from peers.processes import output_of, run_measured

REQUIREMENTS = Path(__file__).with_name("requirements")
_ERROR = "ERROR: "
_INSTALLED = "requirements.txt"
_LIMIT_S = 3600.0
_PIP_OPTIONS = ("--disable-pip-version-check", "--no-input")
_NAME = re.compile(r"^([A-Za-z0-9._-]+)", re.MULTILINE)
_ASK = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


class Unavailable(Exception):  # noqa: N818 - no error, a tool is left out
    """A tool cannot be had on this host; the message says why."""


@dataclasses.dataclass(frozen=True)
class Environment:
    """An environment that is ready.

    Attributes:
        name: As its file of requirements is called.
        folder: Where it lies.
        versions: Of the packages that its requirements name.
    """

    name: str
    folder: Path
    versions: Mapping[str, str]

    def program(self, name: str) -> Path:
        """Return the path of a program that is installed in it."""
        return self.folder / "bin" / name


def environment(name: str, root: Path) -> Environment:
    """Return the environment of ``requirements/name.txt``, made where it is missing or old.

    Raises:
        Unavailable: It cannot be made: no network, or no packages for this host.
    """
    wanted = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    folder = root.resolve() / name
    stamp = folder / _INSTALLED
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        _make(name, folder)
        stamp.write_text(wanted, encoding="utf-8")
    return Environment(name, folder, _versions(folder, wanted))


def _make(name: str, folder: Path) -> None:
    print(f"installing {name}: a minute or more", file=sys.stderr, flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{name}.log"
    python = folder / "bin" / "python"
    _run([sys.executable, "-m", "venv", "--clear", folder], log)
    wanted = REQUIREMENTS / f"{name}.txt"
    _run([python, "-m", "pip", "install", *_PIP_OPTIONS, "--requirement", wanted], log)


def _run(argv: Sequence[str | Path], log: Path) -> None:
    ending = run_measured(argv, log, _LIMIT_S)
    if not ending.error:
        return
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said += output_of(log).read_text(encoding="utf-8", errors="replace").splitlines()
    reasons = [line.removeprefix(_ERROR) for line in said if line.startswith(_ERROR)]
    raise Unavailable(f"cannot be installed: {reasons[-1] if reasons else ending.error}")


def _versions(folder: Path, wanted: str) -> dict[str, str]:
    python = folder / "bin" / "python"
    try:
        done = subprocess.run(
            [python, "-c", _ASK, *_NAME.findall(wanted)],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"its environment is damaged; remove {folder.name} ({error})") from error
    versions: dict[str, str] = json.loads(done.stdout)
    return versions
