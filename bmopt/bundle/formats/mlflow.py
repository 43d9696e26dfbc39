"""Models of MLflow: the ``python_function`` flavour with a loader on ONNX Runtime.

The files are written from what MLflow documents of its ``MLmodel`` format, so that MLflow itself
is needed where the model is loaded only.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmopt.bundle.formats.packed import Packed, require_engine
from bmopt.bundle.formats.python_side import requirements, write_code, write_model
from bmopt.bundle.manifest import Model, Port
from bmopt.core.files import write_text
from bmopt.core.runner import Array

_LOADER = "bmopt_pyfunc"
_CODE, _DATA = "code", "data"
_EXAMPLE, _SERVED_EXAMPLE = "input_example.json", "serving_input_example.json"
_CREATED = "1980-01-01 00:00:00.000000"
_MAX_EXAMPLE = 1 << 20
"""Elements of an example; JSON takes about twenty bytes for each."""


def check(packed: Packed) -> None:
    """Check that one model for ONNX Runtime was packed.

    Raises:
        BundleError: It was not.
    """
    require_engine(packed.only("mlflow"), "mlflow", "onnxruntime")


def write(packed: Packed, out: Path) -> None:
    """Write the model's folder."""
    model = packed.only("mlflow")
    write_model(packed, model, out / _DATA)
    write_code(out / _CODE, f"{_LOADER}.py")
    feeds = packed.golden(model)
    has_example = _can_be_json(feeds)
    if has_example:
        values = {name: array.tolist() for name, array in feeds.items()}
        write_text(out / _EXAMPLE, json.dumps(values))
        write_text(out / _SERVED_EXAMPLE, json.dumps({"inputs": values}))
    _write_environment(requirements(packed, model), out)
    write_text(out / "MLmodel", _yaml(_mlmodel(packed, model, has_example=has_example)))


def _mlmodel(packed: Packed, model: Model, *, has_example: bool) -> dict[str, Any]:
    example = {
        "artifact_path": _EXAMPLE,
        "serving_input_path": _SERVED_EXAMPLE,
        "type": "ndarray",
        "format": "tf-serving",
    }
    return {
        "flavors": {
            "python_function": {
                "loader_module": _LOADER,
                "code": _CODE,
                "data": _DATA,
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "python_version": platform.python_version(),
            }
        },
        "metadata": {
            "bmopt": packed.manifest.bmopt,
            "target": model.target,
            "digest": model.digest,
        },
        "model_uuid": model.digest[:32],
        **({"saved_input_example_info": example} if has_example else {}),
        "signature": {"inputs": _schema(model.inputs), "outputs": _schema(model.outputs)},
        "utc_time_created": _CREATED,
    }


def _schema(ports: Sequence[Port]) -> str:
    """Return MLflow's JSON of tensors; it stands in the file as a text."""
    specs = [
        {
            "name": port.name,
            "type": "tensor",
            "tensor-spec": {"dtype": port.dtype, "shape": list(port.shape)},
        }
        for port in ports
    ]
    return json.dumps(specs)


def _can_be_json(feeds: Mapping[str, Array]) -> bool:
    return bool(feeds) and all(
        array.size <= _MAX_EXAMPLE and bool(np.isfinite(array).all()) for array in feeds.values()
    )


def _write_environment(needs: Sequence[str], out: Path) -> None:
    version = platform.python_version()
    write_text(out / "requirements.txt", "".join(f"{line}\n" for line in needs))
    python_env = {"python": version, "dependencies": ["-r requirements.txt"]}
    write_text(out / "python_env.yaml", _yaml(python_env))
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={version}", "pip", {"pip": list(needs)}],
    }
    write_text(out / "conda.yaml", _yaml(conda))


def _yaml(document: Mapping[str, Any], indent: str = "") -> str:
    """Return YAML: mappings as blocks, all else as JSON, which is YAML too."""
    lines = ""
    for key, value in document.items():
        if isinstance(value, Mapping):
            lines += f"{indent}{key}:\n{_yaml(value, f'{indent}  ')}"
        else:
            lines += f"{indent}{key}: {json.dumps(value)}\n"
    return lines
