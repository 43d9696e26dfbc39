"""SHA256SUMS: the real ``sha256sum`` reads it, and odd ones are refused."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bundle.sums import parse_sums, to_text, write_sums
from bmopt.errors import BundleError, TrustError
from tests.bundle.bundles import contents, write_bundle, write_key

DIGEST = "0123456789abcdef" * 4


def test_every_file_but_itself_and_the_signature_is_listed(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", key=write_key(tmp_path / "key.pem"))
    listed = parse_sums((folder / "SHA256SUMS").read_bytes(), "b")
    assert listed.keys() == contents(folder).keys() - {"SHA256SUMS", "SIGNATURE"}
    assert list(listed) == sorted(listed)
    assert "manifest.json" in listed


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_sha256sum_agrees(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    command = ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0
    (folder / "labels.txt").write_text("changed")
    assert subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 1


PATHS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda text: (
        text.isprintable() and "\\" not in text and not {"", ".", ".."} & set(text.split("/"))
    )
)


@given(st.dictionaries(PATHS, st.just(DIGEST), max_size=5))
def test_what_is_written_is_read(digests: dict[str, str]) -> None:
    assert parse_sums(to_text(digests).encode(), "b") == digests


@given(st.binary(max_size=200))
def test_any_bytes_are_sums_or_refused(data: bytes) -> None:
    with contextlib.suppress(TrustError):
        assert len(parse_sums(data, "b")) == data.count(b"\n")


@pytest.mark.parametrize(
    "text",
    [
        f"{DIGEST}  a",
        f"{DIGEST} a\n",
        f"{DIGEST} *a\n",
        f"{DIGEST.upper()}  a\n",
        f"{DIGEST}  a\n{DIGEST}  a\n",
        f"{DIGEST}  ../a\n",
        f"{DIGEST}  /a\n",
        f"{DIGEST}  a\n\n",
        f"{DIGEST[1:]}  a\n",
        f"{DIGEST}  \n",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(TrustError):
        parse_sums(text.encode(), "b")


def test_a_name_that_a_line_cannot_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "two\nlines").write_text("x")
    with pytest.raises(BundleError, match="printable"):
        write_sums(tmp_path)
