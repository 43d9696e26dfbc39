"""What ONNX Runtime needs for its GPU providers, and what of it this host lacks.

A provider is a shared library of ONNX Runtime's that is linked to others: CUDA's, and for
TensorRT one major version of ``libnvinfer``. Where one of them does not load, ONNX Runtime
writes to the log and runs the model on the CPU; so they are loaded before.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import re
from collections.abc import Iterator
from pathlib import Path

import onnxruntime as ort

from bmopt.core.host import host_facts

PROVIDERS: dict[str, tuple[str, ...]] = {
    "cuda": ("CUDAExecutionProvider",),
    # Nodes that TensorRT does not take are the CUDA provider's.
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
"""Device of a target -> the providers it stands for, most wanted first."""

_INSTALL = "pip uninstall onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]'"
_LINKED = re.compile(rb"lib(?:cudnn|nvinfer|nvonnxparser)\.so\.\d+")
"""In the order in which they are loaded: the parser needs the engine."""
_TENSORRT = ("libnvinfer", "libnvonnxparser")
_NOT_LOADED = re.compile(r"^Failed to load ([^\s/\\]+): ", re.MULTILINE)
"""Of the loader's path, which is tried after the wheels; a file that failed has its path here."""
_WHEELS = ("tensorrt_libs", "nvidia")
"""Packages that bring libraries outside the loader's path."""


def lacks(device: str) -> str:
    """Return why models cannot run on ``device`` here, in a line; empty where they can.

    Where they can, the libraries that the providers need are loaded by then.
    """
    available = ort.get_available_providers()
    for provider in PROVIDERS[device]:
        if provider not in available:
            return f"this ONNX Runtime has no {provider} ({_INSTALL})"
    if not host_facts().gpus:
        return "no NVIDIA GPU (neither nvidia-smi nor CUDA's driver knows one)"
    missing = _missing_of_cuda()
    if not missing and device == "tensorrt":
        missing = next((name for name in _linked() if load(name) is None), "")
    return f"{missing} is missing ({_advice(missing)})" if missing else ""


def load(name: str) -> ctypes.CDLL | None:
    """Load a shared library from the loader's path or from NVIDIA's wheels; None without it."""
    found = map(_opened, (name, *map(str, _in_wheels(name))))
    return next((library for library in found if library is not None), None)


def nvinfer_version() -> int | None:
    """Return the version of ``libnvinfer`` as it tells it, e.g. 101300; None without it."""
    library = next((load(name) for name in _linked() if "nvinfer" in name), None)
    return None if library is None else int(library.getInferLibVersion())


def _missing_of_cuda() -> str:
    """Load CUDA's libraries as ONNX Runtime does it; return the first that is missing."""
    preload = getattr(ort, "preload_dlls", None)  # since 1.21
    if preload is None:
        return ""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        preload()
    found = _NOT_LOADED.search(printed.getvalue())
    return found.group(1) if found else ""


def _linked() -> list[str]:
    """Return the other libraries that the TensorRT provider is linked to, on Linux."""
    provider = Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_tensorrt.so"
    try:
        content = provider.read_bytes()
    except OSError:
        return []
    return sorted({name.decode() for name in _LINKED.findall(content)})


def _opened(path: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(path)
    except OSError:
        return None


def _advice(name: str) -> str:
    if name.startswith(_TENSORRT):
        cuda = str(getattr(ort, "cuda_version", "")).partition(".")[0]
        return f"pip install 'tensorrt-cu{cuda}=={name.rpartition('.')[2]}.*'"
    return f"pip install 'onnxruntime-gpu[cuda,cudnn]=={ort.__version__}'"


def _in_wheels(name: str) -> Iterator[Path]:
    for package in _WHEELS:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield from sorted(Path(folder).glob(name))
            yield from sorted(Path(folder).glob(f"*/lib/{name}"))
