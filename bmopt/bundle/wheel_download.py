"""A wheel for another platform, downloaded by pip in a process of its own."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bmopt.core.isolate import run_isolated
from bmopt.errors import BundleError, IsolatedToolError

_GLIBC = ("2_28", "2_27", "2_24", "2_17")
"""Versions that wheels are built against, newest first."""

_TIMEOUT_S = 300.0


@contextlib.contextmanager
def downloaded_wheel(package: str, version: str, platform: str) -> Iterator[Path]:
    """Yield the wheel of ``package`` for ``platform``, which is removed afterwards.

    Raises:
        BundleError: There is none, or it cannot be fetched; the message tells what to do.
    """
    if not version:
        raise BundleError(f"{package} is not installed here: give its wheel with --runtime")
    with tempfile.TemporaryDirectory(prefix="bmopt-wheel-") as folder:
        try:
            run_isolated(
                _command(package, version, platform, folder), timeout_s=_TIMEOUT_S, name="pip"
            )
        except IsolatedToolError as error:
            raise BundleError(
                f"{package} {version} for {platform} cannot be fetched ({error}); download its "
                "wheel elsewhere and give it with --runtime, or leave it out with --slim"
            ) from error
        wheels = sorted(Path(folder).glob("*.whl"))
        if len(wheels) != 1:
            raise BundleError(f"{package} {version} has no wheel for {platform}; use --slim")
        yield wheels[0]


def _command(package: str, version: str, platform: str, folder: str) -> list[str]:
    machine = platform.removesuffix("-linux")
    tags = [option for glibc in _GLIBC for option in _tag(f"manylinux_{glibc}_{machine}")]
    return [
        *(sys.executable, "-m", "pip", "download", f"{package}=={version}"),
        *("--only-binary=:all:", "--no-deps", "--quiet", "--disable-pip-version-check"),
        *("--no-input", "--dest", folder, *tags, *_tag(f"manylinux2014_{machine}")),
    ]


def _tag(tag: str) -> list[str]:
    return ["--platform", tag]
