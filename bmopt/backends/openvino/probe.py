"""Whether OpenVINO is installed, its version, its module."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

from bmopt.core.capabilities import Capabilities
from bmopt.errors import HostError

MISSING = "OpenVINO is not installed (pip install 'bmopt[openvino]')"
"""What to say where the package is missing."""

_RUNS_FILES = "bmopt compiles nothing for it, but runs files: openvino:model.xml"


def probe() -> Capabilities:
    """Say that files run where OpenVINO is installed; it is not imported to find out."""
    if not installed():
        return Capabilities.none(MISSING)
    return Capabilities(
        compile=False, build=False, run=True, reason=_RUNS_FILES, version=version()
    )


def installed() -> bool:
    """Return whether OpenVINO is installed, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def version() -> str:
    """Return the installed version, empty where there is none or it is no Python package."""
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return ""


def load() -> Any:  # noqa: ANN401 - a module without types
    """Import OpenVINO and return its module.

    Raises:
        HostError: It is not installed, or its libraries cannot be loaded.
    """
    if not installed():
        raise HostError(MISSING)
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise HostError(
            f"OpenVINO cannot be loaded ({' '.join(str(error).split())}); "
            "install it again (pip install --force-reinstall openvino)"
        ) from error
    return openvino
