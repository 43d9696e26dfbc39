"""Signatures of bundles, as the native tool checks them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.runner.native_probe import NativeError, NativeProbe, native_probe

_SUMS = b"0" * 64 + b"  manifest.json\n"


@pytest.fixture(scope="module")
def probe() -> NativeProbe:
    return native_probe()


def _key(seed: int = 1) -> Any:
    module = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    return module.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def _public(key: Any) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _sign(folder: Path, key: Any, **changes: str) -> bytes:
    (folder / "SHA256SUMS").write_bytes(_SUMS)
    document = {
        "algorithm": "ed25519",
        "public_key": _public(key),
        "signature": base64.b64encode(key.sign(_SUMS)).decode(),
        **changes,
    }
    text = (json.dumps(document) + "\n").encode()
    (folder / "SIGNATURE").write_bytes(text)
    return text


def _refusal(probe: NativeProbe, folder: Path, key: str = "") -> NativeError:
    with pytest.raises(NativeError) as caught:
        probe.signature(folder, key)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_signature_names_its_key(probe: NativeProbe, tmp_path: Path) -> None:
    _sign(tmp_path, _key())
    assert probe.signature(tmp_path) == _public(_key())
    assert probe.signature(tmp_path, _public(_key())) == _public(_key())


def test_a_folder_without_one_is_not_signed(probe: NativeProbe, tmp_path: Path) -> None:
    assert probe.signature(tmp_path) == ""
    refused = _refusal(probe, tmp_path, _public(_key()))
    assert refused.status == 5
    assert "is not signed" in str(refused)


def test_another_key_is_refused(probe: NativeProbe, tmp_path: Path) -> None:
    _sign(tmp_path, _key())
    refused = _refusal(probe, tmp_path, _public(_key(2)))
    assert refused.status == 5
    assert "another key" in str(refused)


def test_every_flipped_byte_is_noticed(probe: NativeProbe, tmp_path: Path) -> None:
    text = _sign(tmp_path, _key())
    for at in range(len(text)):
        changed = bytearray(text)
        changed[at] ^= 1 << at % 8
        (tmp_path / "SIGNATURE").write_bytes(changed)
        assert _refusal(probe, tmp_path).status == 5, changed
    (tmp_path / "SIGNATURE").write_bytes(text)
    for at in range(len(_SUMS)):
        changed = bytearray(_SUMS)
        changed[at] ^= 1
        (tmp_path / "SHA256SUMS").write_bytes(changed)
        assert _refusal(probe, tmp_path).status == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "rsa"},
        {"public_key": "AAAA"},
        {"signature": ""},
        {"more": "x"},
        {"public_key": "A" * 44},
    ],
)
def test_damaged_signatures(probe: NativeProbe, tmp_path: Path, changes: dict[str, str]) -> None:
    _sign(tmp_path, _key(), **changes)
    assert _refusal(probe, tmp_path).status == 5


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"no json", b"\xff" * 9, b" " * 5000])
def test_what_is_no_signature(probe: NativeProbe, tmp_path: Path, text: bytes) -> None:
    _sign(tmp_path, _key())
    (tmp_path / "SIGNATURE").write_bytes(text)
    assert _refusal(probe, tmp_path).status == 5


def test_a_link_is_no_signature(probe: NativeProbe, tmp_path: Path) -> None:
    _sign(tmp_path, _key())
    (tmp_path / "SIGNATURE").rename(tmp_path / "elsewhere")
    (tmp_path / "SIGNATURE").symlink_to("elsewhere")
    assert _refusal(probe, tmp_path).status == 5


def test_the_key_may_be_in_a_file(probe: NativeProbe, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    _sign(folder, _key())
    (tmp_path / "key").write_text(_public(_key()) + "\n")
    assert probe.signature(folder, str(tmp_path / "key")) == _public(_key())
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    pem = (
        _key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "pem").write_bytes(pem)
    assert probe.signature(folder, str(tmp_path / "pem")) == _public(_key())


@pytest.mark.parametrize("content", [None, "", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_what_is_no_key(probe: NativeProbe, tmp_path: Path, content: str | None) -> None:
    _sign(tmp_path, _key())
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    refused = _refusal(probe, tmp_path, str(path))
    assert refused.status == 2
    assert str(path) in str(refused)


@pytest.mark.parametrize("size", range(6))
def test_base64_round_trip(probe: NativeProbe, size: int) -> None:
    raw = bytes(range(250, 250 + size))[:size] if size < 6 else b""
    assert probe.base64(base64.b64encode(raw)) == raw


@pytest.mark.parametrize(
    "text",
    [b"A", b"AA", b"AAA", b"AA=", b"A===", b"====", b"AB==", b"AAB=", b"AA==\n", b" AAA",
     b"AA-_", b"A\0AA", b"AA=A", b"AAAA=AAA"],
)  # fmt: skip
def test_base64_is_strict(probe: NativeProbe, text: bytes) -> None:
    with pytest.raises(NativeError):
        probe.base64(text)
