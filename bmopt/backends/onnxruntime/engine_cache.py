"""Folders in which ONNX Runtime's TensorRT provider keeps engines and timings.

The provider names an engine by a hash of the names in the graph and by the GPU's compute
capability, and loads what it finds under that name, also if weights (microsoft/onnxruntime issue
6455), shapes (32254), a version or an option have changed since. So every combination of all that
an engine depends on has a folder of its own.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from bmopt import __version__
from bmopt.backends.onnxruntime.libraries import nvinfer_version
from bmopt.backends.onnxruntime.providers import build_options
from bmopt.core import digest
from bmopt.core.cache_folder import cache_folder
from bmopt.core.engine import BuildOptions
from bmopt.core.host import Gpu

STEP = "ort-tensorrt"
"""Name of the folder of them all, in bmopt's cache."""


def engine_folder(path: Path, build: BuildOptions, gpu: Gpu) -> Path:
    """Return the folder for the engines of the ``.onnx`` file ``path``."""
    return _folder(
        {"model": _content(path), "options": build_options(build), "host": _host(gpu)},
    )


def timing_folder(gpu: Gpu) -> Path:
    """Return the folder for kernel timings, which all models share."""
    return _folder({"timings": _host(gpu)})


def _folder(inputs: dict[str, object]) -> Path:
    key = digest.of_json(inputs)
    return cache_folder() / STEP / key[:2] / key


def _host(gpu: Gpu) -> dict[str, object]:
    return {
        "gpu": gpu.name,
        "compute": gpu.compute,
        "driver": gpu.driver,
        "onnxruntime": ort.__version__,
        "nvinfer": nvinfer_version(),
        "bmopt": __version__,
    }


def _content(path: Path) -> list[str]:
    """Return the digests of a model's file and of the files that its weights lie in."""
    model = onnx.load(str(path), load_external_data=False)
    locations = {
        ExternalDataInfo(tensor).location
        for tensor in model.graph.initializer
        if uses_external_data(tensor)
    }
    files = (path, *(path.parent / name for name in sorted(locations)))
    return [digest.of_file(file) for file in files]
