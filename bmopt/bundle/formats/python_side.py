"""What the formats that run in Python share: the model's description, and the code to run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bmopt.bundle.formats.packed import (
    SERVING_KEY,
    SERVING_VERSION,
    Packed,
    batches,
    template,
)
from bmopt.bundle.manifest import Model, Port
from bmopt.core.files import write_text

MODEL = "model.onnx"
DESCRIPTION = "serving.json"
LABELS = "index_to_name.json"
SESSION_CODE = "bmopt_session.py"
PIXELS_CODE = "bmopt_pixels.py"


def write_model(packed: Packed, model: Model, out: Path) -> None:
    """Write the model, what is to be known of it, and the names of its classes."""
    packed.copy_model(model, out, MODEL)
    labels = packed.labels()
    if labels:
        _write_json(out / LABELS, {str(index): name for index, name in enumerate(labels)})
    _write_json(out / DESCRIPTION, _description(packed, model, has_labels=bool(labels)))


def write_code(out: Path, *names: str) -> None:
    """Write modules that need nothing of bmopt, and always those that the others import."""
    for name in (SESSION_CODE, PIXELS_CODE, *names):
        write_text(out / name, template(name))


def requirements(packed: Packed, model: Model) -> list[str]:
    """Return what is to be installed, as lines of a ``requirements.txt``."""
    runtime = model.needs.runtime
    versions = [f">={runtime.min}"] if runtime.min else []
    versions += [f"<{runtime.below}"] if runtime.below else []
    images = ["pillow>=10"] if packed.manifest.preprocess else []
    return ["numpy>=1.26", f"onnxruntime{','.join(versions)}", *images]


def _description(packed: Packed, model: Model, *, has_labels: bool) -> dict[str, Any]:
    preprocess = packed.manifest.preprocess
    return {
        SERVING_KEY: SERVING_VERSION,
        "bmopt": packed.manifest.bmopt,
        "name": packed.manifest.name,
        "target": model.target,
        "digest": model.digest,
        "model": MODEL,
        "session": dict(sorted(model.session.items())),
        "needs_cpu": [list(flags) for flags in model.needs.cpu],
        "inputs": [_port(port) for port in model.inputs],
        "outputs": [_port(port) for port in model.outputs],
        "batches": batches(model),
        "preprocess": None if preprocess is None else dict(preprocess),
        "labels": LABELS if has_labels else None,
    }


def _port(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "dtype": port.dtype,
        "shape": list(port.shape),
        "layout": port.layout,
    }


def _write_json(path: Path, document: object) -> None:
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
