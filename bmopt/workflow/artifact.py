"""Artifact folders: written whole, verified when opened."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from bmopt import __version__
from bmopt.backends.registry import backend_for
from bmopt.core import digest
from bmopt.core.files import MANIFEST, MANIFEST_KEY, write_text
from bmopt.core.runner import Feeds, Runner
from bmopt.core.target import Target
from bmopt.errors import ArtifactError, HostError, TargetError

FORMAT_VERSION = 1
MODEL = "model.onnx"
RANGES = "ranges.json"
PLAN = "plan.json"
RECIPE = "recipe.toml"
REPORT = "report.json"
GOLDEN = "golden"


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An opened artifact; a context manager that closes its engine.

    Attributes:
        path: Its folder.
        manifest: What it was made from and how.
        runner: Its model, opened for inference.
    """

    path: Path
    manifest: Mapping[str, Any]
    runner: Runner

    @property
    def report(self) -> dict[str, Any] | None:
        """What was measured on it, None where nothing has been.

        Raises:
            ArtifactError: The file is damaged.
        """
        path = self.path / REPORT
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ArtifactError(f"{path}: is no report ({error}); compile again") from error

    def run(self, feeds: Feeds) -> dict[str, Any]:
        """Run one inference: input name -> array in, output name -> array out.

        Raises:
            DataError: The feeds do not fit the model.
        """
        return self.runner.run(feeds)

    def __enter__(self) -> Artifact:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.runner.__exit__(kind, error, trace)


def load_artifact(path: Path, *, threads: int = 0, any_host: bool = False) -> Artifact:
    """Open an artifact folder after checking that its files are as they were written.

    With ``any_host``, an artifact for another class of processor is opened too; what it answers
    may then be wrong (8-bit weights saturate without VNNI) and is slow.

    Raises:
        ArtifactError: The folder is no artifact, of another version, or damaged.
        HostError: It was made for a processor that this host is not.
    """
    manifest = read_manifest(path)
    files = manifest["files"]
    if MODEL not in files or manifest.get("digest") != digest.of_json(files):
        raise ArtifactError(f"{path}: {MANIFEST} was changed after it was written; compile again")
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            raise ArtifactError(f"{path}: {name} is missing; compile again")
        if digest.of_file(file) != expected:
            raise ArtifactError(f"{path}: {name} was changed after it was compiled; compile again")
    try:
        target = Target.parse(manifest["target"])
    except TargetError as error:
        raise ArtifactError(f"{path}: {error}") from error
    backend = backend_for(target)
    able = backend.probe(target)
    if not able.run and not any_host:
        raise HostError(f"{path}: {able.reason}; compile it for this host, or pass any_host=True")
    return Artifact(path, manifest, backend.open(path / MODEL, threads=threads))


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the artifact folder ``path``.

    Raises:
        ArtifactError: There is none, or it is of another version.
    """
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        version = manifest[MANIFEST_KEY]
        manifest["files"].items()
        manifest["target"].partition(":")
    except OSError as error:
        raise ArtifactError(f"{path}: is no bmopt artifact (no {MANIFEST})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{file}: is no artifact manifest ({error!r})") from error
    if version != FORMAT_VERSION:
        raise ArtifactError(f"{file}: version {version!r}; this bmopt reads {FORMAT_VERSION}")
    return dict(manifest)


def write_golden(folder: Path, runner: Runner, feeds: Sequence[Feeds]) -> None:
    """Record inputs and what the compiled artifact answers to them, one ``.npz`` pair each."""
    golden = folder / GOLDEN
    golden.mkdir()
    for index, feed in enumerate(feeds):
        _save_arrays(golden / f"input_{index}.npz", feed)
        _save_arrays(golden / f"output_{index}.npz", runner.run(feed))


def _save_arrays(path: Path, arrays: Feeds) -> None:
    """Write an ``.npz`` like NumPy's, whose names may be any: one of its own is ``file``."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array))


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest over all files that are in ``folder`` by now."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): digest.of_file(path) for path in paths}
    document = {
        MANIFEST_KEY: FORMAT_VERSION,
        "bmopt": __version__,
        **facts,
        "digest": digest.of_json(files),
        "files": files,
    }
    write_text(folder / MANIFEST, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write what was measured beside the artifact's files, outside its digest."""
    write_text(folder / REPORT, json.dumps(report, indent=1, allow_nan=False) + "\n")
