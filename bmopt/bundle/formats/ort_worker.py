"""Program: ``model.onnx`` in the current folder to ONNX Runtime's format and operator lists.

It does what ``python -m onnxruntime.tools.convert_onnx_models_to_ort`` does with fixed
optimisations, with paths of its own choice and the session settings of the model. Kernels that
only processors with the same vector width have (NCHWc) are left out, as they are there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

# ONNX Runtime's tools import torch where it is installed, which takes longer than the rest.
sys.modules["torch"] = None  # type: ignore[assignment]

import onnxruntime as ort  # noqa: E402
from onnxruntime.tools.ort_format_model import create_config_from_models  # noqa: E402

from bmopt.bundle.formats.ort_canonical import canonical  # noqa: E402

_SOURCE, _MADE = Path("model.onnx"), Path("model.ort")
_LISTS = {"required_operators.config": False, "required_operators_and_types.config": True}
_WIDTH_BOUND = ["NchwcTransformer"]
_SIGNED_ACTIVATIONS = {"arm": "1", "any": "0"}


def main(platform: str, settings: Sequence[str]) -> None:
    """Convert; raise what ONNX Runtime raises."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(_MADE)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("session.qdqisint8allowed", _SIGNED_ACTIVATIONS[platform])
    for setting in settings:
        key, _, value = setting.partition("=")
        options.add_session_config_entry(key, value)
    ort.InferenceSession(
        str(_SOURCE), options, ["CPUExecutionProvider"], disabled_optimizers=_WIDTH_BOUND
    )
    for name, has_types in _LISTS.items():
        create_config_from_models([_MADE], Path(name), has_types)
    _MADE.write_bytes(canonical(_MADE.read_bytes()))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except Exception as error:
        sys.exit(" ".join(str(error).split()))
