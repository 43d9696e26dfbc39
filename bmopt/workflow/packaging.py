"""``bmopt package``: compiled artifacts to a bundle that runs without Python."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bmopt import __version__
from bmopt.bundle import layout
from bmopt.bundle.archive import write_archive
from bmopt.bundle.keys import private_key
from bmopt.bundle.licences import licence_files
from bmopt.bundle.manifest import SCHEMA_KEY, Manifest, Model
from bmopt.bundle.manifest_json import valid_name
from bmopt.bundle.native import engine_libraries, native_folder
from bmopt.bundle.runtimes import BUNDLED, runtimes_for
from bmopt.bundle.signing import sign
from bmopt.bundle.tvm_runtime import need_of
from bmopt.bundle.wheel_files import WheelFiles
from bmopt.bundle.writer import copy_files, finish, native_files, set_modes
from bmopt.core.files import atomic_folder, require_replaceable, require_writable_file
from bmopt.errors import BundleError
from bmopt.workflow.packed_artifact import Packed, read_packed
from bmopt.workflow.packing_folded import folded
from bmopt.workflow.packing_model import pack_model
from bmopt.workflow.progress import Progress, Quiet

_TEXT_BYTES = 16 << 20


@dataclasses.dataclass(frozen=True)
class PackageOptions:
    """How a bundle is made.

    Attributes:
        platform: ``"x86_64-linux"`` or ``"aarch64-linux"``.
        is_slim: The engines' runtime libraries are left out.
        key: File with the ed25519 private key to sign with; None leaves it unsigned.
        labels: File with the classes' names, one a line.
        name: What the bundle is called; the first source model's name if empty.
        runtime: A wheel of ONNX Runtime or its shared library, a wheel of TVM's, or a folder of
            wheels, instead of the installed versions.
        fold_preprocess: The graph takes stored pixels and prepares them itself.
        top_k: How many scores and their classes the graph gives instead of all; 0 for all.
    """

    platform: str
    is_slim: bool = False
    key: Path | None = None
    labels: Path | None = None
    name: str = ""
    runtime: Path | None = None
    fold_preprocess: bool = False
    top_k: int = 0


@dataclasses.dataclass(frozen=True)
class Package:
    """A bundle that was written: where, its size in bytes, its manifest with every file."""

    path: Path
    size_bytes: int
    manifest: Manifest


@dataclasses.dataclass(frozen=True)
class Parts:
    """What goes into a bundle besides its models.

    Attributes:
        native: Folder of the native runner; None where the bundle is for another program.
        libraries: Engine -> plugin of the runner.
        runtimes: Name of a runtime -> its libraries and licences; those that are included.
        labels: The text of ``labels.txt``, None without labels.
    """

    native: Path | None
    libraries: dict[str, Path]
    runtimes: Mapping[str, WheelFiles]
    labels: str | None


def package(
    artifacts: Sequence[Path],
    options: PackageOptions,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Package:
    """Write a bundle of ``artifacts``, which a device tries in the order given.

    ``out`` is an archive where it ends with ``.tar.zst``, ``.tar.gz`` or ``.zip``, else a folder;
    the archive ``NAME.PLATFORM.tar.zst`` if left out. The same inputs give the same bytes.

    Raises:
        ArtifactError: An artifact is damaged.
        BundleError: An artifact is for another platform, a part of the bundle is missing, or
            a model's outputs cannot be checked on a device.
        DataError: The labels cannot be read.
        OutputError: ``out`` cannot be written.
        UsageError: An option makes no sense.
    """
    progress = progress or Quiet()
    progress.step("check")
    if options.key is not None:
        private_key(options.key)  # Before any work, rather than after all of it.
    packed = read_all(artifacts, options)
    name = bundle_name(packed, options)
    out = out or Path(f"{name}.{options.platform}{layout.ARCHIVES[0]}")
    is_archive = bool(layout.archive_suffix(out.name))
    if is_archive:
        require_writable_file(out)
    else:
        require_replaceable(out, SCHEMA_KEY)
    progress.step("runtime")
    parts = find_parts(packed, options, progress)
    with _folder(out, is_archive=is_archive) as folder:
        manifest = fill(folder, name, packed, parts, options, progress)
        if options.key is not None:
            sign(folder, options.key)
            set_modes(folder)
        if is_archive:
            progress.step("archive")
            write_archive(folder, out)
    return Package(out, size_of(out), manifest)


@contextlib.contextmanager
def _folder(out: Path, *, is_archive: bool) -> Iterator[Path]:
    """Yield the folder to fill: what takes the place of ``out``, or is archived and removed."""
    if not is_archive:
        with atomic_folder(out, SCHEMA_KEY) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="bmopt-bundle-") as scratch:
        yield Path(scratch)


def read_all(artifacts: Sequence[Path], options: PackageOptions) -> list[Packed]:
    """Read the artifacts of a bundle; see ``package`` for what is raised."""
    platform, top_k = options.platform, options.top_k
    if not artifacts:
        raise BundleError("no artifact was given; name the folders that bmopt compile wrote")
    if platform not in layout.PLATFORMS:
        raise BundleError(f"no platform {platform!r}; valid are {', '.join(layout.PLATFORMS)}")
    found: list[Packed] = []
    for path in artifacts:
        taken = {packed.name for packed in found}
        packed = read_packed(path, platform, taken)
        found.append(folded(packed, preprocess=options.fold_preprocess, top_k=top_k))
    return found


def bundle_name(packed: Sequence[Packed], options: PackageOptions) -> str:
    """Return what a bundle is called.

    Raises:
        BundleError: The name asked for cannot be a file's.
    """
    return valid_name(options.name or _plain_name(packed[0].source_name))


def _plain_name(text: str) -> str:
    """Return a file's name without its suffix, in characters that a bundle's name may have."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(text).stem).lstrip("._-")[:100]
    return plain or "model"


def find_parts(packed: Sequence[Packed], options: PackageOptions, progress: Progress) -> Parts:
    """Find the runner and the libraries; see ``package`` for what is raised."""
    engines = list(dict.fromkeys(model.engine for model in packed))
    native = native_folder(options.platform)
    libraries = engine_libraries(native, engines, options.platform)
    for engine in engines:
        if engine not in libraries:
            progress.warn(
                f"the native runner for {options.platform} was built without {engine}'s headers: "
                f"the bundle runs where {layout.engine_library(engine)} is added to its lib folder"
            )
    runtimes = {} if options.is_slim else _runtimes(packed, engines, options)
    return Parts(native, libraries, runtimes, read_labels(options.labels))


def _runtimes(
    packed: Sequence[Packed], engines: Sequence[str], options: PackageOptions
) -> dict[str, WheelFiles]:
    wanted = [engine for engine in engines if engine in BUNDLED]
    tvm = {
        model.name: need_of(model.path / model.engine_file, model.manifest.get("versions", {}))
        for model in packed
        if model.engine == "tvm"
    }
    return runtimes_for(options.platform, wanted, tvm, options.runtime)


def read_labels(path: Path | None) -> str | None:
    """Return the text of ``labels.txt``, None without a file.

    Raises:
        BundleError: The file cannot be read, or has no lines.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as stream:
            text = stream.read(_TEXT_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise BundleError(f"{path}: the labels cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: the labels are no text in UTF-8") from error
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise BundleError(f"{path}: holds no labels; write the name of one class a line")
    return "\n".join(lines) + "\n"


def fill(
    folder: Path,
    name: str,
    packed: Sequence[Packed],
    parts: Parts,
    options: PackageOptions,
    progress: Progress,
) -> Manifest:
    """Fill a bundle's folder and return its manifest; see ``package`` for what is raised."""
    progress.step("golden outputs")
    models: list[Model] = []
    for done, model in enumerate(packed):
        progress.advance(done, len(packed))
        models.append(pack_model(folder, model, progress))
        _require_alike(models[0], models[-1], model.path)
    progress.step("files")
    copy_files(folder, _common_files(parts))
    if parts.labels is not None:
        (folder / layout.LABELS).write_text(parts.labels, encoding="utf-8")
        sizes = _scores(packed, models)
        _compare_labels(parts.labels.count("\n"), sizes, progress)
    manifest = Manifest(
        bmopt=__version__,
        name=name,
        platform=options.platform,
        models=tuple(models),
        files={},
        preprocess=packed[0].preprocess,
        labels=None if parts.labels is None else layout.LABELS,
    )
    return finish(folder, manifest, is_slim=options.is_slim)


def _require_alike(first: Model, other: Model, path: Path) -> None:
    """Check that a model can take another's place: the same inputs in, the same outputs out."""
    for kind, ports, others in (
        ("inputs", first.inputs, other.inputs),
        ("outputs", first.outputs, other.outputs),
    ):
        wanted = [(port.name, port.dtype, len(port.shape)) for port in ports]
        if wanted != [(port.name, port.dtype, len(port.shape)) for port in others]:
            names = ", ".join(f"{port.name} ({port.dtype})" for port in others)
            raise BundleError(
                f"{path}: has other {kind} than the first artifact ({names}); pack it by itself"
            )


def _common_files(parts: Parts) -> dict[str, Path]:
    if parts.native is None:
        return {}
    files = native_files(parts.native, parts.libraries)
    licences = {name: runtime.licences for name, runtime in parts.runtimes.items()}
    for runtime in parts.runtimes.values():
        files |= {f"{layout.LIB}/{name}": path for name, path in runtime.libraries.items()}
    return {**files, **licence_files(parts.native, licences)}


def _scores(packed: Sequence[Packed], models: Sequence[Model]) -> set[int]:
    """Return how many scores the outputs have, before a top-k took some; -1 for any number."""
    rankings = [model.folded.ranking for model in packed if model.folded]
    ranked = {ranking.count for ranking in rankings if ranking}
    return ranked or {port.shape[-1] for model in models for port in model.outputs if port.shape}


def _compare_labels(count: int, sizes: set[int], progress: Progress) -> None:
    if sizes and count not in sizes and -1 not in sizes:
        progress.warn(
            f"there are {count} labels, and outputs with {', '.join(map(str, sorted(sizes)))} "
            "values"
        )


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
