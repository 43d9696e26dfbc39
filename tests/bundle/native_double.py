"""Stands in for the native runner where what is in its files does not matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.bundle import native

FILES = (
    "bin/bmopt-run",
    "lib/libbmopt_runner.so",
    "lib/libbm_engine_onnxruntime.so",
    "include/bmopt_runner.h",
)
X86, ARM = "x86_64-linux", "aarch64-linux"
MACHINES = {X86: 62, ARM: 183}


def install_stubs(root: Path, patch: pytest.MonkeyPatch) -> Path:
    """Write files by the runner's names for both platforms, and have them found."""
    for platform in (X86, ARM):
        for name in FILES:
            file = root / "native" / platform / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{name} for {platform}\n")
    patch.setattr(native, "installed_folder", lambda: root)
    return root / "native"


def shared_library(platform: str) -> bytes:
    """Return the header of a shared library for a platform, and nothing else."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    return ident + (3).to_bytes(2, "little") + MACHINES[platform].to_bytes(2, "little") + bytes(44)
