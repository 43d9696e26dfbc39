"""What a model that TVM compiled says of itself, read without TVM."""

from __future__ import annotations

import json
from pathlib import Path

from bmopt.backends.tvm.names import Signature
from bmopt.bundle.elf import require_platform
from bmopt.errors import BundleError

_START = b'{"architecture": "'
_MAX_BYTES = 1 << 20


def signature_in(library: Path) -> Signature:
    """Return the signature that stands in a library as text.

    Raises:
        BundleError: There is none.
    """
    try:
        data = library.read_bytes()
    except OSError as error:
        raise BundleError(f"{library}: cannot be read ({error.strerror})") from error
    start = data.find(_START)
    while start >= 0:
        text = data[start : start + _MAX_BYTES].decode("utf-8", "replace")
        try:
            return Signature.from_json(json.dumps(json.JSONDecoder().raw_decode(text)[0]))
        except (ValueError, LookupError, TypeError):
            start = data.find(_START, start + 1)
    raise BundleError(f"{library}: is no library that bmopt compiled with TVM; compile again")


def require_runs_on(library: Path, platform: str) -> None:
    """Check that a library is for processors of ``platform``.

    Raises:
        BundleError: It is not; the message tells what to compile for.
    """
    try:
        require_platform(library, platform)
    except BundleError as error:
        device = "cortex-a72" if platform.startswith("aarch64") else "x86-avx2"
        raise BundleError(
            f"{error}; compile for a device of {platform}, such as tvm-fp32:{device}"
        ) from error
