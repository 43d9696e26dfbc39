"""Keys as people have them, signatures as OpenSSL makes them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bmopt.bundle.keys import encoded, fingerprint, private_key, public_key
from bmopt.bundle.signing import check_signature, sign
from bmopt.errors import BundleError, TrustError, UsageError
from tests.bundle.bundles import public_of, write_key

NEEDS_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def signed(tmp_path: Path) -> tuple[bytes, bytes, bytes]:
    """Return the bytes of SHA256SUMS, of SIGNATURE, and the public key."""
    key = write_key(tmp_path / "key.pem")
    (tmp_path / "SHA256SUMS").write_bytes(b"some sums\n")
    sign(tmp_path, key)
    return b"some sums\n", (tmp_path / "SIGNATURE").read_bytes(), public_of(key)


def test_a_signature_is_checked_against_its_own_or_a_given_key(tmp_path: Path) -> None:
    sums, stored, public = signed(tmp_path)
    assert check_signature(sums, stored, "b", None) == public
    assert check_signature(sums, stored, "b", public) == public
    assert json.loads(stored)["public_key"] == encoded(public)
    with pytest.raises(TrustError, match=fingerprint(public)):
        check_signature(sums, stored, "b", bytes(32))
    with pytest.raises(TrustError, match="changed after it was signed"):
        check_signature(sums + b"x", stored, "b", None)


def test_signing_is_deterministic(tmp_path: Path) -> None:
    assert signed(tmp_path) == signed(tmp_path)


def test_no_byte_of_a_signature_is_free(tmp_path: Path) -> None:
    sums, stored, _ = signed(tmp_path)
    for place in range(len(stored)):
        for bit in range(8):
            flipped = bytearray(stored)
            flipped[place] ^= 1 << bit
            with pytest.raises(TrustError):
                check_signature(sums, bytes(flipped), "b", None)
    for other in (b"", b"{}", b"[]", b"[" * 5000, b'{"public_key": 1, "signature": 2}', b"\xff"):
        with pytest.raises(TrustError):
            check_signature(sums, other, "b", None)


@NEEDS_OPENSSL
def test_openssl_agrees(tmp_path: Path) -> None:
    key, public = tmp_path / "key.pem", tmp_path / "public.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", key)
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    (tmp_path / "SHA256SUMS").write_bytes(b"some sums\n")
    sign(tmp_path, key)
    signature = tmp_path / "raw"
    document = json.loads((tmp_path / "SIGNATURE").read_bytes())
    signature.write_bytes(base64.b64decode(document["signature"]))
    openssl(
        *("pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"),
        *("-in", tmp_path / "SHA256SUMS", "-sigfile", signature),
    )
    assert public_key(str(public)) == public_of(key)


def test_a_public_key_is_text_or_a_file(tmp_path: Path) -> None:
    public = public_of(write_key(tmp_path / "key.pem"))
    text = encoded(public)
    assert public_key(text) == public
    spare = text[:-2] + chr(ord(text[-2]) + 1) + "="  # bits that decoding drops
    with pytest.raises(BundleError):
        public_key(spare)
    (tmp_path / "text").write_text(f"{text}\n")
    assert public_key(str(tmp_path / "text")) == public


@pytest.mark.parametrize(
    "content",
    [b"", b"AAAA", b"\xff\xfe", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END", b"x" * 44],
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BundleError, match="file: is no"):
        public_key(str(tmp_path / "file"))


@pytest.mark.parametrize("text", ["missing", "x" * 5000, "nul\0"])
def test_a_public_key_that_is_not_there(text: str) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        public_key(text)


def test_a_private_key_is_no_public_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="give the public one"):
        public_key(str(write_key(tmp_path / "key.pem")))


@NEEDS_OPENSSL
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-algorithm", "ed25519", "-aes256", "-pass", "pass:x"), "is encrypted"),
        (("-algorithm", "x25519"), "is no ed25519 key"),
        (("-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:1024"), "is no ed25519 key"),
        (("-algorithm", "ed448"), "is no ed25519 key"),
        (("-algorithm", "ed25519", "-outform", "DER"), "is no key that can be read"),
    ],
)
def test_other_private_keys_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    openssl("genpkey", *arguments, "-out", tmp_path / "key.pem")
    with pytest.raises(BundleError, match=message) as raised:
        private_key(tmp_path / "key.pem")
    assert "\n" not in str(raised.value)


def test_files_that_are_no_keys_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a key")
    for path, message in ((tmp_path / "text", "no key"), (tmp_path, "directory")):
        with pytest.raises(BundleError, match=message):
            private_key(path)


def test_without_cryptography_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums, stored, public = signed(tmp_path)
    name = "cryptography.hazmat.primitives.asymmetric.ed25519"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"bmopt\[sign\]"):
        check_signature(sums, stored, "b", None)
    with pytest.raises(UsageError, match=r"bmopt\[sign\]"):
        private_key(tmp_path / "key.pem")
    assert public_key(encoded(public)) == public
