"""An unpacked bundle, as the serving formats read it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bmopt.bundle.manifest import Manifest, Model
from bmopt.bundle.manifest_json import read_manifest
from bmopt.core.runner import Array
from bmopt.errors import BundleError

SERVING_KEY = "bmopt_serving"
SERVING_VERSION = 1
"""The key in ``manifest.json`` that marks a folder of these formats as ours, and its value."""

_TEMPLATES = Path(__file__).parent / "templates"


@dataclasses.dataclass(frozen=True)
class Packed:
    """A bundle's folder and its manifest."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Packed:
        """Read the manifest of the bundle in ``folder``.

        Raises:
            BundleError: There is none, or it is malformed.
        """
        return cls(folder, read_manifest(folder))

    def only(self, kind: str) -> Model:
        """Return the one model of the bundle.

        Raises:
            BundleError: There are more; ``kind`` names the format that holds one.
        """
        if len(self.manifest.models) > 1:
            raise BundleError(
                f"--format {kind} holds one model, and {len(self.manifest.models)} artifacts were "
                "given; package each by itself"
            )
        return self.manifest.models[0]

    def golden(self, model: Model, index: int = 0) -> dict[str, Array]:
        """Return the inputs of a recorded inference by name, empty where there is none.

        Raises:
            BundleError: A file of it cannot be read.
        """
        if index >= len(model.golden):
            return {}
        return {item.name: self._array(item.file) for item in model.golden[index].inputs}

    def labels(self) -> list[str]:
        """Return the names of the classes, empty where none are packed."""
        if self.manifest.labels is None:
            return []
        text = (self.folder / self.manifest.labels).read_text(encoding="utf-8")
        return text.removesuffix("\n").split("\n")

    def copy_model(self, model: Model, out: Path, name: str) -> None:
        """Copy a model into the folder ``out`` under ``name``, with the files of its weights."""
        for path, copied in self.model_files(model, name):
            target = out / copied
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / path, target)

    def model_files(self, model: Model, name: str) -> list[tuple[str, str]]:
        """Return the files of a model: where each is in the bundle, and its path beside ``name``.

        Raises:
            BundleError: Weights lie in a file that is called as the model is to be.
        """
        home = PurePosixPath(model.file).parent
        others = [
            (path, str(PurePosixPath(path).relative_to(home)))
            for path in sorted(self.manifest.files)
            if path != model.file and PurePosixPath(path).is_relative_to(home)
        ]
        if any(copied == name for _, copied in others):
            raise BundleError(f"{model.name}: a file of weights is called {name}; rename it")
        return [(model.file, name), *others]

    def _array(self, path: str) -> Array:
        try:
            array: Array = np.load(self.folder / path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BundleError(f"{path}: cannot be read ({error}); package again") from error
        return array


def batches(model: Model) -> bool:
    """Whether the first axis of every input and output is one and the same free axis.

    Axes whose symbols differ are not the same; one without a symbol may be.
    """
    ports = (*model.inputs, *model.outputs)
    symbols = {port.axes[0] for port in ports if port.axes} - {None}
    return all(port.shape[:1] == (-1,) for port in ports) and len(symbols) <= 1


def require_engine(model: Model, kind: str, *engines: str) -> None:
    """Check that a format serves a model's engine.

    Raises:
        BundleError: It does not, or the engine has still to be built.
    """
    if model.engine not in engines:
        raise BundleError(
            f"{model.name}: --format {kind} serves models of {' and '.join(engines)}, not of "
            f"{model.engine} ({model.target}); use --format native"
        )
    if model.engine != "onnxruntime" and model.file.endswith(".onnx"):
        raise BundleError(
            f"{model.name}: its engine is not built; run 'bmopt build' on the device and package "
            f"what it writes, or use --format native ({model.target})"
        )


def marker(packed: Packed, kind: str) -> dict[str, Any]:
    """Return ``manifest.json`` of a folder in a serving format: what it was made of."""
    return {
        SERVING_KEY: SERVING_VERSION,
        "format": kind,
        "bmopt": packed.manifest.bmopt,
        "name": packed.manifest.name,
        "models": [_origin(model) for model in packed.manifest.models],
    }


def _origin(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "target": model.target,
        "engine": model.engine,
        "digest": model.digest,
        "source": None if model.source is None else dataclasses.asdict(model.source),
        "passes": model.passes,
        "versions": dict(model.versions),
        "needs": dataclasses.asdict(model.needs),
    }


def template(name: str, values: Mapping[str, str] | None = None) -> str:
    """Return the text of a file that formats put in, each ``@key@`` replaced by its value."""
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    for key, value in (values or {}).items():
        text = text.replace(f"@{key}@", value)
    return text
