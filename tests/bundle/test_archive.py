"""Archives are functions of a folder's content, and other tools read them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from bmopt.bundle.archive import write_archive
from bmopt.bundle.extraction import extract
from bmopt.bundle.layout import ARCHIVES
from bmopt.bundle.manifest import FileEntry
from bmopt.bundle.tar_format import header
from bmopt.errors import BundleError, TrustError, UsageError
from tests.bundle.bundles import NAME, contents, entries, write_bundle

BOTH = pytest.mark.parametrize("suffix", ARCHIVES)


@BOTH
def test_an_archive_holds_what_the_folder_holds(tmp_path: Path, suffix: str) -> None:
    folder = write_bundle(tmp_path / "bundle")
    out = tmp_path / f"out{suffix}"
    write_archive(folder, out)
    (tmp_path / "again").mkdir()
    manifest, written = extract(out, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)
    assert manifest.name == NAME
    assert entries(folder).items() <= written.items()
    assert all(isinstance(entry, FileEntry) for entry in written.values())


@BOTH
def test_place_times_modes_and_order_of_creation_do_not_matter(
    tmp_path: Path, suffix: str
) -> None:
    folder = write_bundle(tmp_path / "bundle")
    other = tmp_path / "elsewhere" / "copy"
    other.mkdir(parents=True)
    for name in reversed(contents(folder)):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, other / name)
        os.utime(other / name, (1.0, 2.0))
        (other / name).chmod(0o700 if os.access(folder / name, os.X_OK) else 0o600)
    write_archive(folder, tmp_path / f"a{suffix}")
    write_archive(other, tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_the_tar_is_one_that_python_and_gnu_tar_read(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    write_archive(folder, tmp_path / "out.tar.gz")
    assert (tmp_path / "out.tar.gz").read_bytes()[4:8] == bytes(4)  # the time of writing
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        members = archive.getmembers()
        assert members[0].name == f"{NAME}/manifest.json"
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
        assert {m.mode for m in members} == {0o644, 0o755}
    if shutil.which("tar"):
        out = tmp_path / "untarred"
        out.mkdir()
        subprocess.run(["tar", "-xf", tmp_path / "out.tar.gz", "-C", out], check=True)
        assert contents(out / NAME) == contents(folder)


def test_the_zip_is_one_that_python_reads(tmp_path: Path) -> None:
    write_archive(write_bundle(tmp_path / "bundle"), tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        tool = archive.getinfo(f"{NAME}/bin/tool")
        assert tool.external_attr >> 16 == 0o100755
        assert tool.date_time == (1980, 1, 1, 0, 0, 0)


def test_headers_are_those_of_pythons_own_writer() -> None:
    for name, size in (("a", 0), ("d/" * 60 + "name", 12345), ("é/ü", 8**11 - 1)):
        info = tarfile.TarInfo(name)
        info.size = size
        theirs = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
        ours = bytearray(header(name, size, is_executable=False))
        for block in (theirs, ours):  # device numbers may also be left empty; sums follow
            block[148:156] = bytes(8)
            block[329:345] = bytes(16)
        assert ours == theirs


def test_what_does_not_fit_a_tar_is_said() -> None:
    with pytest.raises(BundleError, match="too long a path"):
        header("x" * 101, 1, is_executable=False)
    with pytest.raises(BundleError, match="8 GiB"):
        header("x", 8 << 30, is_executable=False)


def test_only_bundles_are_packed_and_only_as_what_is_known(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    with pytest.raises(UsageError, match=r"ends with \.tar\.zst"):
        write_archive(folder, tmp_path / "out.rar")
    with pytest.raises(BundleError, match="is no bundle"):
        write_archive(tmp_path, tmp_path / "out.zip")
    (folder / "link").symlink_to("labels.txt")
    with pytest.raises(TrustError, match="is a link"):
        write_archive(folder, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
