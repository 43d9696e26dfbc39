"""Archives of TorchServe (``.mar``): a handler on ONNX Runtime, the model, and its labels.

The layout is that of torch-model-archiver: a ZIP with the files at its top and
``MAR-INF/MANIFEST.json``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from bmopt.bundle import zip_format
from bmopt.bundle.formats.packed import Packed, batches, require_engine
from bmopt.bundle.formats.python_side import (
    MODEL,
    requirements,
    write_code,
    write_model,
)
from bmopt.bundle.manifest import Model
from bmopt.core.files import write_text

HANDLER = "handler.py"
_REQUIREMENTS = "requirements.txt"
_CONFIG = "model-config.yaml"
_MAX_BATCH = 8
_BATCH_DELAY_MS = 5


def check(packed: Packed) -> None:
    """Check that one model for ONNX Runtime was packed.

    Raises:
        BundleError: It was not.
    """
    require_engine(packed.only("torchserve"), "torchserve", "onnxruntime")


def write(packed: Packed, out: Path) -> None:
    """Write the archive to the file ``out``; the same bundle gives the same bytes."""
    model = packed.only("torchserve")
    with tempfile.TemporaryDirectory(prefix="bmopt-") as name:
        folder = Path(name)
        write_model(packed, model, folder)
        write_code(folder, HANDLER)
        needs = requirements(packed, model)
        write_text(folder / _REQUIREMENTS, "".join(f"{line}\n" for line in needs))
        write_text(folder / _CONFIG, _config(model))
        manifest = folder / "MAR-INF" / "MANIFEST.json"
        write_text(manifest, json.dumps(_manifest(packed), indent=2) + "\n")
        _archive(folder, out)


def _manifest(packed: Packed) -> dict[str, Any]:
    return {
        "createdOn": "01/01/1980 00:00:00",
        "runtime": "python",
        "model": {
            "modelName": packed.manifest.name,
            "serializedFile": MODEL,
            "handler": HANDLER,
            "modelVersion": "1.0",
            "requirementsFile": _REQUIREMENTS,
            "configFile": _CONFIG,
        },
        "archiverVersion": "0.12.0",
    }


def _config(model: Model) -> str:
    """Return the settings of the workers.

    One worker, since a session uses all cores: a worker per core, which is what TorchServe
    starts otherwise, would have them wait for each other.
    """
    size = _MAX_BATCH if batches(model) else 1
    return (
        f"minWorkers: 1\nmaxWorkers: 1\nbatchSize: {size}\nmaxBatchDelay: {_BATCH_DELAY_MS}\n"
        "handler:\n  threads: 0 # 0 is one per core\n"
    )


def _archive(folder: Path, out: Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(out, "w") as archive:
        for path in paths:
            name, size = path.relative_to(folder).as_posix(), path.stat().st_size
            entry = zip_format.entry(name, size, is_executable=False)
            with path.open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target)
