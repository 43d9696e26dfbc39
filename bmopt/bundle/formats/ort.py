"""ONNX Runtime's own format, and what a build of it needs that runs this model only."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from bmopt.bundle.formats.packed import Packed, require_engine, template
from bmopt.bundle.manifest import Manifest, Model
from bmopt.core.files import write_text
from bmopt.core.isolate import start_isolated
from bmopt.errors import BundleError, IsolatedToolError

MODEL = "model.ort"
OPERATORS = "required_operators.config"
TYPES = "required_operators_and_types.config"
_TIMEOUT_S = 300.0
_MAX_BYTES = 2 << 30
"""The format's offsets have 31 bits."""


def check(packed: Packed) -> None:
    """Check that one model for ONNX Runtime was packed.

    Raises:
        BundleError: It was not, or it is too large for the format.
    """
    model = packed.only("ort")
    require_engine(model, "ort", "onnxruntime")
    files = packed.model_files(model, "model.onnx")
    if sum((packed.folder / path).stat().st_size for path, _ in files) >= _MAX_BYTES:
        raise BundleError(f"{model.name}: --format ort holds less than 2 GiB; use --format native")


def write(packed: Packed, out: Path) -> None:
    """Write the model, the lists of its operators, and how a build is made of them.

    ONNX Runtime's converter runs in a process of its own.

    Raises:
        BundleError: It refuses the model, dies, or runs out of time.
    """
    model = packed.only("ort")
    with tempfile.TemporaryDirectory(prefix="bmopt-") as name:
        folder = Path(name)
        packed.copy_model(model, folder, "model.onnx")
        _convert(model, packed.manifest, folder)
        for made in (MODEL, OPERATORS, TYPES):
            shutil.copyfile(folder / made, out / made)
    values = {"name": packed.manifest.name, "version": model.needs.runtime.made_with}
    write_text(out / "README.md", template("ort_README.md", values))


def _convert(model: Model, manifest: Manifest, folder: Path) -> None:
    platform = "arm" if manifest.platform.startswith("aarch64") else "any"
    settings = [f"{key}={value}" for key, value in sorted(model.session.items())]
    argv = [sys.executable, "-m", "bmopt.bundle.formats.ort_worker", platform, *settings]
    try:
        start_isolated(
            argv, timeout_s=_TIMEOUT_S, name="ONNX Runtime's converter", folder=folder
        ).wait()
    except IsolatedToolError as error:
        raise BundleError(f"{model.name}: {error}") from error
