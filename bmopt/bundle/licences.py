"""Licences of what a bundle includes."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from bmopt.bundle import layout
from bmopt.errors import BundleError

_OWN = "bmopt"
_NAME = "LICENSE"


def own_licence() -> Path:
    """Return the file with bmopt's licence.

    Raises:
        BundleError: It was removed from the installation.
    """
    for path in (_of_distribution(), Path(__file__).parents[2] / _NAME):
        if path is not None and path.is_file():
            return path
    raise BundleError("bmopt's licence is missing from its installation; install bmopt again")


def _of_distribution() -> Path | None:
    try:
        files = importlib.metadata.files(_OWN) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [file for file in files if file.name == _NAME and ".dist-info" in str(file)]
    return Path(str(found[0].locate())) if found else None


def licence_files(native: Path, runtimes: Mapping[str, Mapping[str, Path]]) -> dict[str, Path]:
    """Return path in the bundle -> file, of bmopt, what its runner contains, and the runtimes.

    Args:
        native: The native runner's folder; what is in its ``LICENSES`` belongs to it.
        runtimes: Runtime -> its licences by file name.
    """
    found = {f"{layout.LICENCES}/{_OWN}/{_NAME}": own_licence()}
    for path in sorted((native / layout.LICENCES).rglob("*")):
        if path.is_file():
            found[f"{layout.LICENCES}/{path.relative_to(native / layout.LICENCES)}"] = path
    for runtime, files in runtimes.items():
        for name, path in files.items():
            found[f"{layout.LICENCES}/{runtime}/{name}"] = path
    return found
