"""Whether TVM is installed, in which versions, and its module."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from typing import Any

from bmopt.errors import HostError

PAIR: Mapping[str, str] = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post0"}
"""Package -> the version that was tested with the other one.

The compiler does not bring its foreign function interface, whose tables change between releases
without a check: with a later one, tuning ends in a segmentation fault.
"""

_INSTALL = "pip install 'bmopt[tvm]'"
MISSING = f"TVM is not installed ({_INSTALL})"
"""What to say where the package is missing."""

_MODULE = "tvm"


def installed() -> bool:
    """Return whether TVM is installed, without importing it."""
    return importlib.util.find_spec(_MODULE) is not None


def version() -> str:
    """Return the installed version without importing TVM, empty where there is none."""
    return found_pair().get("apache-tvm", "")


def found_pair() -> dict[str, str]:
    """Return package -> installed version of those in ``PAIR`` that are installed."""
    found = {package: _version_of(package) for package in PAIR}
    return {package: version for package, version in found.items() if version}


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def why_not(found: Mapping[str, str] | None = None) -> str:
    """Return why TVM cannot be used here; empty where it can.

    Args:
        found: Package -> version; what is installed if not given.
    """
    if found is None:
        if not installed():
            return MISSING
        found = found_pair()
    if not found:
        return ""  # built from source: there are no packages that tell
    if found == PAIR:
        return ""
    return f"{_pair(found)} is no tested pair ({_pair(PAIR)} is): {_INSTALL}"


def _pair(versions: Mapping[str, str]) -> str:
    return " with ".join(f"{name} {versions.get(name, '(not installed)')}" for name in PAIR)


def load(module: str = _MODULE) -> Any:  # noqa: ANN401 - a module without types
    """Import TVM, or one of its modules, and return it.

    Raises:
        HostError: It is not installed, is no tested pair, or its libraries cannot be loaded.
    """
    if reason := why_not():
        raise HostError(reason)
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise HostError(
            f"TVM cannot be loaded ({' '.join(str(error).split())}); "
            f"install it again (pip install --force-reinstall 'bmopt[tvm]')"
        ) from error
