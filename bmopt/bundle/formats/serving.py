"""The formats of ``bmopt package --format``, by name."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from bmopt.bundle import layout
from bmopt.bundle.formats import mlflow, oci, ort, torchserve, triton
from bmopt.bundle.formats.packed import SERVING_KEY, Packed, marker
from bmopt.core.files import atomic_file, atomic_folder, require_replaceable, write_text
from bmopt.errors import BundleError


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        what: What is written, for the help.
        check: Raises ``BundleError`` where the format cannot serve the bundle.
        write: Writes it: into a folder, or to a file where there is a suffix.
        how: The command that uses it, with ``{out}``, ``{folder}``, ``{file}`` and ``{name}``.
        suffix: Of the one file that is written; empty where it is a folder.
        needs_runner: Whether the native runner and its libraries have to be in the bundle.
    """

    what: str
    check: Callable[[Packed], None]
    write: Callable[[Packed, Path], None]
    how: str
    suffix: str = ""
    needs_runner: bool = False

    def use(self, out: Path, name: str) -> str:
        """Return the command that uses what was written to ``out``."""
        folder, file = shlex.quote(str(out.parent)), shlex.quote(out.name)
        return self.how.format(out=shlex.quote(str(out)), folder=folder, file=file, name=name)


FORMATS: Mapping[str, Format] = {
    "triton": Format(
        "model repository of Triton",
        triton.check,
        triton.write,
        "tritonserver --model-repository={out}",
    ),
    "torchserve": Format(
        "archive of TorchServe",
        torchserve.check,
        torchserve.write,
        "torchserve --start --model-store {folder} --models {name}={file}",
        suffix=".mar",
    ),
    "mlflow": Format(
        "model of MLflow",
        mlflow.check,
        mlflow.write,
        "mlflow models serve --env-manager local -m {out}",
    ),
    "oci": Format(
        "build context of a container image",
        oci.check,
        oci.write,
        "docker build -t {name} {out}",
        needs_runner=True,
    ),
    "ort": Format(
        "model for a reduced build of ONNX Runtime",
        ort.check,
        ort.write,
        "how to build ONNX Runtime for it: {out}/README.md",
    ),
}
"""Beside ``native``, the bundle itself."""


def default_out(kind: str, name: str) -> Path:
    """Return where a bundle called ``name`` is written in the format ``kind``."""
    return Path(f"{name}{FORMATS[kind].suffix or f'.{kind}'}")


def require_out(kind: str, out: Path) -> None:
    """Check that ``out`` can be written before the work for it is done.

    Raises:
        BundleError: The format is one file, and ``out`` lacks its suffix.
        OutputError: There is something else in its place.
    """
    suffix = FORMATS[kind].suffix
    if not suffix:
        require_replaceable(out, SERVING_KEY)
    elif out.suffix != suffix:
        raise BundleError(f"{out}: --format {kind} writes a {suffix} file; name it so")


def write_format(kind: str, bundle: Path, out: Path) -> None:
    """Write the bundle in the folder ``bundle`` to ``out``, whole or not at all.

    Args:
        kind: A key of ``FORMATS``.
        bundle: A native bundle's folder; its ``bin``, ``lib`` and ``include`` may be missing
            where the format does not need the runner.
        out: A folder, or a file where the format has a suffix.

    Raises:
        BundleError: The format cannot serve the bundle.
        OutputError: ``out`` cannot be written.
    """
    form, packed = FORMATS[kind], Packed.open(bundle)
    require_out(kind, out)
    form.check(packed)
    if form.suffix:
        with atomic_file(out) as file:
            form.write(packed, file)
        return
    with atomic_folder(out, SERVING_KEY) as folder:
        form.write(packed, folder)
        document = json.dumps(marker(packed, kind), indent=1, ensure_ascii=False)
        write_text(folder / layout.MANIFEST, f"{document}\n")
