"""Where things are in a bundle, and which paths its manifest may name."""

from __future__ import annotations

from bmopt.errors import BundleError

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SIGNATURE = "SIGNATURE"
README = "README.txt"
LABELS = "labels.txt"
SMOKE_TEST = "smoke_test"
MODELS = "models"
GOLDEN = "golden"
BIN = "bin"
LIB = "lib"
INCLUDE = "include"
EXAMPLES = "examples"
LICENCES = "LICENSES"

RUNNER = "bmopt-run"
RUNNER_LIBRARY = "libbmopt_runner.so"
HEADER = "bmopt_runner.h"
ORT_LIBRARY = "libonnxruntime.so.1"
TVM_LIBRARY = "libtvm_runtime.so"

UNLISTED = frozenset({MANIFEST, SUMS, SIGNATURE})
"""Files that the manifest does not list."""

PLATFORMS = ("x86_64-linux", "aarch64-linux")
ARCHIVES = (".tar.zst", ".tar.gz", ".zip")

_PART_BYTES = 255
_PATH_BYTES = 1024


def engine_library(engine: str) -> str:
    """Return the file name of an engine's plugin."""
    return f"libbm_engine_{engine}.so"


def archive_suffix(name: str) -> str:
    """Return the suffix of an archive's file name, empty where it is none."""
    return next((suffix for suffix in ARCHIVES if name.endswith(suffix)), "")


def checked_path(text: str, where: str) -> str:
    """Return ``text`` after checking that it names a file inside the bundle.

    Raises:
        BundleError: It is absolute, leaves the folder, or is no portable path.
    """
    raw = text.encode("utf-8", "surrogatepass")
    parts = raw.split(b"/")
    is_bad = (
        len(raw) > _PATH_BYTES
        or b"\0" in raw
        or b"\\" in raw
        or any(part in (b"", b".", b"..") or len(part) > _PART_BYTES for part in parts)
    )
    if is_bad:
        raise BundleError(f"{where}: {text[:80]!r} is no path inside the bundle")
    return text
