"""``SIGNATURE``: who vouches for ``SHA256SUMS`` and so for every file (Ed25519, RFC 8032)."""

from __future__ import annotations

import json
from pathlib import Path

from bmopt.bundle.keys import (
    KEY_BYTES,
    decoded,
    encoded,
    fingerprint,
    private_key,
    require_cryptography,
)
from bmopt.bundle.layout import SIGNATURE, SUMS
from bmopt.core.files import write_text
from bmopt.errors import TrustError

ALGORITHM = "ed25519"
MAX_BYTES = 4096
_SIGNATURE_BYTES = 64


def sign(folder: Path, key_file: Path) -> None:
    """Sign the ``SHA256SUMS`` in ``folder`` with a PEM file's private key.

    Raises:
        BundleError: The key cannot be read, or is no ed25519 key.
        UsageError: ``cryptography`` is not installed.
    """
    key = private_key(key_file)
    signature = key.sign((folder / SUMS).read_bytes())
    write_text(folder / SIGNATURE, _to_text(key.public_key().public_bytes_raw(), signature))


def check_signature(signed: bytes, stored: bytes, where: str, demanded: bytes | None) -> bytes:
    """Return the public key whose signature of ``signed`` is in ``stored``.

    Args:
        signed: The bytes of ``SHA256SUMS``.
        stored: The bytes of ``SIGNATURE``.
        where: What messages begin with.
        demanded: The 32 bytes of the key that it has to be; None for any.

    Raises:
        TrustError: It is damaged, of another key, or does not match.
        UsageError: ``cryptography`` is not installed.
    """
    public, signature = _parse(stored, where)
    if demanded is not None and public != demanded:
        raise TrustError(
            f"{where}: is signed by another key ({fingerprint(public)}, not "
            f"{fingerprint(demanded)})"
        )
    if not _matches(public, signature, signed):
        raise TrustError(
            f"{where}: {SIGNATURE} does not match {SUMS}; it was changed after it was signed"
        )
    return public


def _to_text(public: bytes, signature: bytes) -> str:
    document = {
        "algorithm": ALGORITHM,
        "public_key": encoded(public),
        "signature": encoded(signature),
    }
    return json.dumps(document) + "\n"


def _parse(stored: bytes, where: str) -> tuple[bytes, bytes]:
    """Return public key and signature; one text stands for a pair, so that no byte is free."""
    damaged = f"{where}: {SIGNATURE} is damaged"
    try:
        document = json.loads(stored.decode("ascii"))
        public = decoded(document["public_key"], KEY_BYTES)
        signature = decoded(document["signature"], _SIGNATURE_BYTES)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrustError(damaged) from error
    if public is None or signature is None or _to_text(public, signature).encode() != stored:
        raise TrustError(damaged)
    return public, signature


def _matches(public: bytes, signature: bytes, signed: bytes) -> bool:
    require_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True
