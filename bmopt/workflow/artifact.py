"""Artifact folders: written whole, verified when opened."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from bmopt import __version__
from bmopt.backends.registry import backend_for, reference
from bmopt.core import digest
from bmopt.core.engine import EngineBuild
from bmopt.core.files import MANIFEST, MANIFEST_KEY, write_text
from bmopt.core.runner import Feeds, Runner
from bmopt.core.target import Target
from bmopt.errors import ArtifactError, HostError, TargetError
from bmopt.workflow.engines import MODEL, read_options
from bmopt.workflow.stand_in import open_stand_in

FORMAT_VERSION = 1
RANGES = "ranges.json"
PLAN = "plan.json"
CAST = "cast.json"
PRUNE = "prune.json"
RECIPE = "recipe.toml"
REPORT = "report.json"
LATENCIES = "latencies.json"
GOLDEN = "golden"


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An opened artifact; a context manager that closes its engine.

    Attributes:
        path: Its folder.
        manifest: What it was made from and how.
        runner: Its model, opened for inference.
        is_stand_in: Whether its graph runs on ONNX Runtime in place of its engine.
    """

    path: Path
    manifest: Mapping[str, Any]
    runner: Runner
    is_stand_in: bool = False

    @property
    def report(self) -> dict[str, Any] | None:
        """What was measured on it, None where nothing has been.

        Raises:
            ArtifactError: The file is damaged.
        """
        return read_report(self.path)

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

    With ``any_host``, an artifact that this host cannot run is opened too: one for another class
    of processor as it is (what it answers may then be wrong, since 8-bit weights saturate without
    VNNI, and is slow), one for a GPU as its graph on ONNX Runtime's CPU provider.

    Raises:
        ArtifactError: The folder is no artifact, of another version, damaged, or its engine has
            still to be built.
        HostError: It was made for a processor or GPU that this host is not.
    """
    return checked_artifact(path, threads=threads, any_host=any_host)()


def checked_artifact(
    path: Path, *, threads: int = 0, any_host: bool = False
) -> Callable[[], Artifact]:
    """Check an artifact as ``load_artifact`` does; return what then opens it."""
    manifest, target = verified(path)
    backend = backend_for(target)
    able = backend.probe(target)
    builder = backend.builder
    name = MODEL if builder is None else builder.engine_file
    there = (path / name).is_file()
    if any_host and not (able.run and there):
        stand_in = functools.partial(
            open_stand_in, reference(), path / MODEL, target, threads=threads
        )
        return lambda: Artifact(path, manifest, stand_in(), is_stand_in=True)
    objects = (path / name).with_suffix(".tar")
    if not there and objects.is_file():
        raise ArtifactError(
            f"{path}: its objects are still to be linked: unpack {objects.name} on the device and "
            f"run 'g++ -shared -fPIC -o {name} *.o' there"
        )
    if not there:
        raise ArtifactError(
            f"{path}: its engine is to be built on the device: run 'bmopt build {path}' there, "
            "or load it with build=True"
        )
    if not able.run:
        raise HostError(f"{path}: {able.reason}; compile it for this host, or pass any_host=True")
    options = read_options(path)
    if options is not None and options.strip:
        raise ArtifactError(
            f"{path}: its engine is stored without weights, for an application that refits it; "
            "build it without --strip to load it here"
        )
    own = functools.partial(backend.open, path / name, target, threads=threads, options=options)
    return lambda: Artifact(path, manifest, own())


def verified(path: Path) -> tuple[dict[str, Any], Target]:
    """Return an artifact's manifest and target after checking its files' digests.

    Raises:
        ArtifactError: The folder is no artifact, of another version, or damaged.
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
        return manifest, Target.parse(manifest["target"])
    except TargetError as error:
        raise ArtifactError(f"{path}: {error}") from error


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


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return what was measured on the artifact in ``folder``, None where nothing has been.

    Raises:
        ArtifactError: The file is damaged.
    """
    path = folder / REPORT
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path}: is no report ({error}); compile again") from error


def read_golden(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the recorded inputs and what was answered to them.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    golden = folder / GOLDEN
    pairs = []
    for source in sorted(golden.glob("input_*.npz")):
        answer = source.with_name(source.name.replace("input", "output", 1))
        pairs.append((_load_arrays(source), _load_arrays(answer)))
    return pairs


def _load_arrays(path: Path) -> dict[str, Any]:
    try:
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); compile again") from error


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
                np.lib.format.write_array(stream, _storable(np.asanyarray(array)))


def _storable(array: Any) -> Any:  # noqa: ANN401 - an array of any dtype
    """Return the array in a dtype that NumPy's format knows; float32 holds any bfloat16."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


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


def engine_identity(built: EngineBuild) -> dict[str, Any]:
    """Return what a manifest says of an engine: nothing in it depends on when it was built."""
    return {"name": built.engine, "version": built.version, "devices": list(built.devices)}


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write what was measured beside the artifact's files, outside its digest."""
    text = json.dumps(_finite(report), indent=1, allow_nan=False)
    write_text(folder / REPORT, f"{text}\n")


def write_latency_table(folder: Path, text: str) -> None:
    """Write the times of the model's parts beside the artifact's files, outside its digest."""
    write_text(folder / LATENCIES, text)


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return ``value`` with infinities and NaN as strings, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
