"""Build contexts of container images that hold a native bundle, and no Python."""

from __future__ import annotations

import shutil
from pathlib import Path

from bmopt.bundle import layout
from bmopt.bundle.formats.packed import Packed, template
from bmopt.core.files import write_text
from bmopt.errors import BundleError

_BUNDLE = "bundle"
_BASE = "debian:stable-slim"
_RUNTIMES = {"onnxruntime": layout.ORT_LIBRARY, "tvm": layout.TVM_LIBRARY}


def check(packed: Packed) -> None:
    """Check that the runner is in the bundle, and the runtime where it may be.

    Raises:
        BundleError: Something is missing.
    """
    if not (packed.folder / layout.BIN / layout.RUNNER).is_file():
        raise BundleError("--format oci holds the native runner, which is not in this bundle")
    engines = {model.engine for model in packed.manifest.models}
    names = [_RUNTIMES[engine] for engine in engines if engine in _RUNTIMES]
    has_runtime = all((packed.folder / layout.LIB / name).is_file() for name in names)
    if engines <= set(_RUNTIMES) and not has_runtime:
        raise BundleError("--format oci needs the runtime in the bundle; leave out --slim")


def write(packed: Packed, out: Path) -> None:
    """Write the Dockerfile, and the bundle beside it."""
    shutil.copytree(packed.folder, out / _BUNDLE)
    write_text(out / "Dockerfile", template("Dockerfile", _values(packed)))
    write_text(out / ".dockerignore", f"*\n!{_BUNDLE}\n")


def _values(packed: Packed) -> dict[str, str]:
    manifest = packed.manifest
    has_gpu = any(model.engine not in _RUNTIMES for model in manifest.models)
    runtimes = sorted({model.needs.runtime.name for model in manifest.models})
    return {
        "name": manifest.name,
        "base": "ARG BASE" if has_gpu else f"ARG BASE={_BASE}",
        "needs": f"It must have {' and '.join(runtimes)}."
        if has_gpu
        else "Any with glibc will do.",
        "docker": "arm64" if manifest.platform.startswith("aarch64") else "amd64",
        "bmopt": manifest.bmopt,
        "digest": manifest.models[0].digest,
    }
