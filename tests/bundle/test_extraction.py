"""Archives that were made to do harm."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bundle import tree
from bmopt.bundle.archive import write_archive
from bmopt.bundle.extraction import extract
from bmopt.bundle.layout import ARCHIVES
from bmopt.bundle.manifest import FileEntry, Manifest
from bmopt.bundle.member import Member
from bmopt.bundle.tar_format import END, header, padding, read_tar
from bmopt.errors import BmoptError, BundleError, TrustError
from tests.bundle.bundles import NAME, contents, write_bundle

Entry = tuple[str, bytes]


def with_files(folder: Path, **sizes: int) -> bytes:
    """Return a manifest that lists more files than the bundle in ``folder`` has."""
    listed: dict[str, FileEntry] = {}

    def change(manifest: Manifest) -> Manifest:
        listed.update(manifest.files)
        listed.update({name: FileEntry("0" * 64, size) for name, size in sizes.items()})
        object.__setattr__(manifest, "files", listed)
        return manifest

    write_bundle(folder, change=change)
    return (folder / "manifest.json").read_bytes()


def tar_of(entries: list[Entry]) -> bytes:
    parts = [
        header(name, len(data), is_executable=False) + data + padding(len(data))
        for name, data in entries
    ]
    return gzip.compress(b"".join(parts) + END)


def zip_of(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that stand in it twice
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


def rechecked(block: bytearray) -> bytes:
    """Return a tar header with the checksum that fits it."""
    plain = block[:148] + b" " * 8 + block[156:]
    return bytes(block[:148]) + b"%06o\0 " % sum(plain) + bytes(block[156:])


def read_whole(data: bytes) -> Iterator[Member]:
    for member in read_tar(io.BytesIO(data)):
        assert b"".join(member.chunks)
        yield member


def refused(tmp_path: Path, data: bytes, error: type[BmoptError] = TrustError) -> str:
    """Extract what must be refused; return the one line, after a look at what was written."""
    archive, folder = tmp_path / "archive", tmp_path / "deep" / "folder"
    archive.write_bytes(data)
    folder.mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(error) as raised:
        extract(archive, folder)
    outside = {path for path in tmp_path.rglob("*") if folder not in path.parents}
    assert outside == before
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    message = str(raised.value)
    assert "\n" not in message
    return message


BOTH = pytest.mark.parametrize("pack", [tar_of, zip_of])
BAD_NAMES = [
    "/etc/passwd",
    "../up",
    f"{NAME}/../../up",
    f"{NAME}/./x",
    f"{NAME}//x",
    f"{NAME}/a\\b",
    f"{NAME}/..",
    "C:\\x",
    "elsewhere/x",
    "SMALL/labels.txt",
    "x",
]


@BOTH
@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_out_are_refused(
    tmp_path: Path, pack: Callable[[list[Entry]], bytes], name: str
) -> None:
    manifest = with_files(tmp_path / "b")
    assert "copy it again" in refused(
        tmp_path, pack([(f"{NAME}/manifest.json", manifest), (name, b"harm")])
    )


def test_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    manifest = with_files(tmp_path / "b")
    data = zip_of([("manifest.json", manifest), ("labelsXtxt", b"harm")])
    assert "no path" in refused(tmp_path, data.replace(b"labelsXtxt", b"labels\0txt"))


@BOTH
@pytest.mark.parametrize("top", ["..", "a/b", "", "/"])
def test_a_top_folder_is_one_plain_name(
    tmp_path: Path, pack: Callable[[list[Entry]], bytes], top: str
) -> None:
    refused(tmp_path, pack([(f"{top}/manifest.json", with_files(tmp_path / "b"))]))


@BOTH
def test_names_that_collide_are_refused(
    tmp_path: Path, pack: Callable[[list[Entry]], bytes]
) -> None:
    manifest = with_files(tmp_path / "b", File=1, file=1, sub=1, **{"sub/x": 1, "SUB/y": 1})
    for number, names in enumerate(
        (
            ("File", "file"),
            ("file", "file"),
            ("sub", "sub/x"),
            ("sub/x", "sub"),
            ("sub/x", "SUB/y"),
        )
    ):
        place = tmp_path / str(number)
        place.mkdir()
        entries = [("manifest.json", manifest), *((name, b"x") for name in names)]
        assert "collide" in refused(place, pack(entries))


@BOTH
def test_what_the_manifest_does_not_list_is_refused(
    tmp_path: Path, pack: Callable[[list[Entry]], bytes]
) -> None:
    manifest = with_files(tmp_path / "b")
    data = pack([("manifest.json", manifest), ("other", b"x")])
    assert "not listed" in refused(tmp_path, data)


@BOTH
def test_the_manifest_comes_first(tmp_path: Path, pack: Callable[[list[Entry]], bytes]) -> None:
    data = pack([("labels.txt", b"x"), ("manifest.json", with_files(tmp_path / "b"))])
    assert "does not begin with manifest.json" in refused(tmp_path, data)


@BOTH
def test_a_malformed_or_huge_manifest(
    tmp_path: Path, pack: Callable[[list[Entry]], bytes]
) -> None:
    cases = ((b"{", BundleError), (b"[]", BundleError), (b" " * ((4 << 20) + 1), TrustError))
    for number, (data, error) in enumerate(cases):
        place = tmp_path / str(number)
        place.mkdir()
        assert "manifest.json" in refused(place, pack([("manifest.json", data)]), error)


@BOTH
def test_a_bomb_ends_early(tmp_path: Path, pack: Callable[[list[Entry]], bytes]) -> None:
    manifest = with_files(tmp_path / "b")
    for number, name in enumerate(("labels.txt", "SHA256SUMS", "SIGNATURE")):
        place = tmp_path / str(number)
        place.mkdir()
        data = pack([("manifest.json", manifest), (name, bytes(32 << 20))])
        assert "larger than it may be" in refused(place, data)
        assert not any(p.stat().st_size > 16 << 20 for p in place.rglob(name))


def test_a_zip_that_lies_about_a_size_ends_early(tmp_path: Path) -> None:
    manifest = with_files(tmp_path / "b")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", manifest)
        archive.writestr("labels.txt", bytes(64 << 20))
    data = out.getvalue().replace((64 << 20).to_bytes(4, "little"), (14).to_bytes(4, "little"))
    refused(tmp_path, data)
    assert all(p.stat().st_size <= 4 << 20 for p in tmp_path.rglob("labels.txt"))


def test_more_bytes_than_the_disk_has_are_refused_at_once(tmp_path: Path) -> None:
    manifest = with_files(tmp_path / "b", big=1 << 60)
    data = tar_of([("manifest.json", manifest)])
    assert "make room" in refused(tmp_path, data, BundleError)


def test_more_files_than_any_bundle_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bmopt.bundle.extraction.MAX_FILES", 3)
    folder = write_bundle(tmp_path / "b")
    write_archive(folder, tmp_path / "a.zip")
    assert "more than 3 files" in refused(tmp_path, (tmp_path / "a.zip").read_bytes())
    monkeypatch.setattr(tree, "MAX_FILES", 3)
    with pytest.raises(TrustError, match="more than 3 files"):
        tree.files_in(folder)


KINDS = {
    "hard link": tarfile.LNKTYPE,
    "symbolic link": tarfile.SYMTYPE,
    "device": tarfile.CHRTYPE,
    "a device": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "folder": tarfile.DIRTYPE,
    "of a kind": tarfile.CONTTYPE,
    "no bundle has": tarfile.GNUTYPE_SPARSE,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_tar_with_anything_but_files(tmp_path: Path, kind: str) -> None:
    manifest = with_files(tmp_path / "b", thing=0)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("thing")
        info.type, info.linkname = KINDS[kind], "/etc/passwd"
        archive.addfile(info)
    first = gzip.decompress(tar_of([("manifest.json", manifest)])).removesuffix(END)
    assert kind in refused(tmp_path, gzip.compress(first + out.getvalue()))


def test_a_tar_with_headers_of_other_writers(tmp_path: Path) -> None:
    for number, form in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        place = tmp_path / str(number)
        place.mkdir()
        manifest = with_files(place / "b")
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz", format=form) as archive:
            info = tarfile.TarInfo("manifest.json")
            info.size, info.pax_headers = len(manifest), {"comment": "x" * 100}
            archive.addfile(info, io.BytesIO(manifest))
        refused(place, out.getvalue())


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFDIR]
)
def test_a_zip_with_anything_but_files(tmp_path: Path, mode: int) -> None:
    manifest = with_files(tmp_path / "b", thing=11)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", manifest)
        info = zipfile.ZipInfo("thing")
        info.external_attr = (mode | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    expected = "link" if mode == stat.S_IFLNK else "regular"
    assert expected in refused(tmp_path, out.getvalue())


def test_a_zip_compressed_otherwise(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("manifest.json", with_files(tmp_path / "b"))
    assert "compressed" in refused(tmp_path, out.getvalue())


def test_a_zstd_window_that_wants_much_memory(tmp_path: Path) -> None:
    window = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    stream = zstandard.ZstdCompressor(compression_params=window).compressobj()
    tar = gzip.decompress(tar_of([("manifest.json", with_files(tmp_path / "b"))]))
    assert "damaged" in refused(tmp_path, stream.compress(tar) + stream.flush())


def test_data_around_the_files_is_refused(tmp_path: Path) -> None:
    manifest = with_files(tmp_path / "b")
    tar = gzip.decompress(tar_of([("manifest.json", manifest)]))
    padded = tar[: -len(END) - 1] + b"x" + END
    for number, data in enumerate((tar + bytes(512), tar[:-512], tar[:-1024], padded, b"", b"x")):
        place = tmp_path / str(number)
        place.mkdir()
        refused(place, gzip.compress(data))


def test_every_byte_of_a_tars_headers_counts(tmp_path: Path) -> None:
    """Also where the checksum fits, of all but the name, the size and that checksum."""
    name = f"{NAME}/{'deep/' * 25}file"
    block = header(name, 3, is_executable=True)
    for place in range(len(block)):
        changed = bytearray(block)
        changed[place] ^= 1
        is_fact = place < 100 or 124 <= place < 156 or 345 <= place < 500
        for data in (bytes(changed), *(() if is_fact else (rechecked(changed),))):
            with pytest.raises(TrustError):
                list(read_whole(data + b"abc" + bytes(509) + END))
    assert [m.name for m in read_whole(block + b"abc" + bytes(509) + END)] == [name]


def test_a_second_zstd_frame_is_read_too(tmp_path: Path) -> None:
    manifest = with_files(tmp_path / "b")
    tar = gzip.decompress(tar_of([("manifest.json", manifest)]))
    packer = zstandard.ZstdCompressor()
    assert "behind its end" in refused(tmp_path, packer.compress(tar) + packer.compress(b"x"))


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f\x8c\0\0", b"PK\5\6" + bytes(18)])
def test_what_is_no_archive_is_bad_input(tmp_path: Path, data: bytes) -> None:
    assert "is no bundle" in refused(tmp_path, data, BundleError)


@pytest.fixture(scope="module", params=ARCHIVES)
def packed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, dict[str, tuple[bytes, bool]]]:
    place = tmp_path_factory.mktemp("packed")
    folder = write_bundle(place / "b")
    write_archive(folder, place / f"a{request.param}")
    return (place / f"a{request.param}").read_bytes(), contents(folder)


def same_or_refused(data: bytes, expected: object, place: Path) -> None:
    archive = place / "a"
    archive.write_bytes(data)
    folder = place / "out"
    folder.mkdir()
    try:
        extract(archive, folder)
    except (TrustError, BundleError):
        return
    assert {name: what[0] for name, what in contents(folder).items()} == expected


@settings(max_examples=150)
@given(data=st.data())
def test_flipped_bytes_are_noticed_or_change_no_file(
    tmp_path_factory: pytest.TempPathFactory,
    packed: tuple[bytes, dict[str, tuple[bytes, bool]]],
    data: st.DataObject,
) -> None:
    whole, files = packed
    flips = st.tuples(st.integers(0, len(whole) - 1), st.integers(1, 255))
    changed = bytearray(whole)
    for place, mask in data.draw(
        st.lists(flips, min_size=1, max_size=4, unique_by=lambda f: f[0])
    ):
        changed[place] ^= mask
    expected = {name: what[0] for name, what in files.items()}
    same_or_refused(bytes(changed), expected, tmp_path_factory.mktemp("flip"))


def test_cut_and_lengthened_archives_are_noticed_or_whole(
    tmp_path: Path, packed: tuple[bytes, dict[str, tuple[bytes, bool]]]
) -> None:
    whole, files = packed
    expected = {name: what[0] for name, what in files.items()}
    cuts = [len(whole) * part // 40 for part in range(40)]
    for number, data in enumerate([whole[:cut] for cut in (*cuts, -1, -4)] + [whole + b"x"]):
        (tmp_path / str(number)).mkdir()
        same_or_refused(data, expected, tmp_path / str(number))
