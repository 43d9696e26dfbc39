"""Ed25519 keys: read from what people have them in."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bmopt.errors import BundleError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

T = TypeVar("T")

KEY_BYTES = 32
_FILE_BYTES = 1 << 16
_MAKE_ONE = "make one with 'openssl genpkey -algorithm ed25519 -out key.pem'"


def fingerprint(public_key: bytes) -> str:
    """Return what people compare: the SHA-256 of a public key's 32 bytes."""
    return f"sha256:{hashlib.sha256(public_key).hexdigest()}"


def private_key(path: Path) -> Ed25519PrivateKey:
    """Read a PEM file with a PKCS8 ed25519 private key, without a password.

    Raises:
        BundleError: It cannot be read, or holds another kind of key.
        UsageError: ``cryptography`` is not installed.
    """
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    if b"ENCRYPTED" in data:
        raise BundleError(f"{path}: is encrypted; decrypt it with 'openssl pkey -in KEY -out NEW'")
    key = _loaded(path, lambda: load_pem_private_key(data, password=None), _MAKE_ONE)
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{path}: is no ed25519 key; {_MAKE_ONE}")
    return key


def public_key(text: str) -> bytes:
    """Return the 32 bytes of a public key: base64, or a file with base64 or PEM.

    Raises:
        BundleError: It is none.
        UsageError: ``cryptography`` is not installed, which PEM needs.
    """
    if not text:
        raise BundleError("the public key is empty; give base64, or a file")
    direct = decoded(text, KEY_BYTES)
    if direct is not None:
        return direct
    path = Path(text)
    data = _read(path)
    if data.lstrip().startswith(b"-----BEGIN"):
        return _public_pem(path, data)
    stored = decoded(data.decode("ascii", "replace").strip(), KEY_BYTES)
    if stored is None:
        raise BundleError(f"{path}: is no public key; give PEM, or base64 of its 32 bytes")
    return stored


def decoded(text: str, size: int) -> bytes | None:
    """Return the ``size`` bytes that ``text`` is the one base64 of, None where it is not."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # The last character can be written in several ways; only one is what an encoder writes.
    return raw if len(raw) == size and encoded(raw) == text else None


def encoded(raw: bytes) -> str:
    """Return the base64 of ``raw``."""
    return base64.b64encode(raw).decode("ascii")


def _public_pem(path: Path, data: bytes) -> bytes:
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    wanted = "give the public one ('openssl pkey -in KEY -pubout')"
    key = _loaded(path, lambda: load_pem_public_key(data), wanted)
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(f"{path}: is no ed25519 key; {wanted}")
    return key.public_bytes_raw()


def _loaded(path: Path, load: Callable[[], T], advice: str) -> T:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return load()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleError(f"{path}: is no key that can be read; {advice}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BundleError(f"{path}: the key cannot be read ({reason})") from error


def require_cryptography() -> None:
    """Check that the package that signatures need is there.

    Raises:
        UsageError: It is not.
    """
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401 - is it there
    except ImportError as error:
        raise UsageError(
            "signatures need the package cryptography (pip install 'bmopt[sign]')"
        ) from error
