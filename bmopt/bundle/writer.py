"""Write a bundle's folder: every file with fixed modes, then the manifest and the checksums."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bmopt.bundle import layout
from bmopt.bundle.describe import is_executable, texts
from bmopt.bundle.manifest import FileEntry, Manifest
from bmopt.bundle.manifest_json import from_json, to_json
from bmopt.bundle.sums import write_sums
from bmopt.bundle.tree import files_in
from bmopt.core import digest

_PLAIN, _PROGRAM, _FOLDER = 0o644, 0o755, 0o755


def copy_files(bundle: Path, files: Mapping[str, Path]) -> None:
    """Copy files into the folder ``bundle``: path in it -> file. Links become what they name."""
    for path, source in files.items():
        target = bundle / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def native_files(native: Path, libraries: Mapping[str, Path]) -> dict[str, Path]:
    """Return path in a bundle -> file, of the runner and the plugins of its engines."""
    runner = (
        f"{layout.BIN}/{layout.RUNNER}",
        f"{layout.LIB}/{layout.RUNNER_LIBRARY}",
        f"{layout.INCLUDE}/{layout.HEADER}",
    )
    plugins = {f"{layout.LIB}/{path.name}": path for path in libraries.values()}
    return {**{path: native / path for path in runner}, **plugins}


def finish(bundle: Path, manifest: Manifest, *, is_slim: bool) -> Manifest:
    """Add the texts, write the manifest over all files and the checksums over all of them.

    Returns the manifest with its files.

    Raises:
        BundleError: The manifest is not one that can be read back.
    """
    for path, text in texts(manifest, is_slim=is_slim).items():
        (bundle / path).parent.mkdir(parents=True, exist_ok=True)
        (bundle / path).write_text(text, encoding="utf-8")
    whole = dataclasses.replace(manifest, files=_entries(bundle))
    text = to_json(whole)
    checked = from_json(text, layout.MANIFEST)
    (bundle / layout.MANIFEST).write_text(text, encoding="utf-8")
    write_sums(bundle)
    set_modes(bundle)
    return checked


def _entries(bundle: Path) -> dict[str, FileEntry]:
    return {
        path: FileEntry(digest.of_file(bundle / path), (bundle / path).stat().st_size)
        for path in files_in(bundle)
    }


def set_modes(bundle: Path) -> None:
    """Give every file and folder the mode that it has in every bundle."""
    for folder, _, _ in os.walk(bundle):
        Path(folder).chmod(_FOLDER)
    for path in files_in(bundle):
        (bundle / path).chmod(_PROGRAM if is_executable(path) else _PLAIN)
