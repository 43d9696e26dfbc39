"""Whatever is changed in a signed bundle is noticed, with the exit code for it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmopt.bundle.archive import write_archive
from bmopt.bundle.layout import ARCHIVES
from bmopt.bundle.manifest_json import read_manifest
from bmopt.bundle.signing import sign
from bmopt.bundle.sums import write_sums
from bmopt.bundle.verifying import check_signer, check_sums, opened
from bmopt.errors import BmoptError
from tests.bundle.bundles import (
    MODEL_FILE,
    contents,
    entries,
    public_of,
    rewrite,
    write_bundle,
    write_key,
)

REGIONS = 64


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_key(tmp_path_factory.mktemp("keys") / "key.pem")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Path:
    return write_bundle(tmp_path_factory.mktemp("original") / "b", key=key)


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "b")


def verdict(bundle: Path, key: Path | None = None) -> int:
    """Return the exit code of checking files and signature."""
    try:
        with opened(bundle) as found:
            check_sums(found)
            check_signer(found, None if key is None else public_of(key))
    except BmoptError as error:
        return error.exit_code
    return 0


def variants(data: bytes) -> Iterator[bytes]:
    """Yield ``data`` with one byte of each region flipped, cut, and lengthened."""
    for region in range(min(REGIONS, len(data))):
        place = (2 * region + 1) * len(data) // (2 * min(REGIONS, len(data)))
        for mask in (0x01, 0x20, 0xFF):
            flipped = bytearray(data)
            flipped[place] ^= mask
            yield bytes(flipped)
    if data:
        yield data[:-1]
        yield data[: len(data) // 2]
        yield b""
    yield data + b"\n"
    yield data + b"\0"


def test_untouched_is_right(bundle: Path, key: Path) -> None:
    assert verdict(bundle) == 0
    assert verdict(bundle, key) == 0


def test_every_region_of_every_file(bundle: Path) -> None:
    for name, (data, _) in contents(bundle).items():
        codes = set()
        for changed in variants(data):
            (bundle / name).write_bytes(changed)
            codes.add(verdict(bundle))
        (bundle / name).write_bytes(data)
        assert codes <= ({2, 5} if name == "manifest.json" else {5}), name
    assert verdict(bundle) == 0


def test_every_byte_of_the_manifest(bundle: Path) -> None:
    path = bundle / "manifest.json"
    data = path.read_bytes()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        assert verdict(bundle) in (2, 5), place


@pytest.mark.parametrize("suffix", ARCHIVES)
def test_changes_inside_an_archive(bundle: Path, key: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"a{suffix}"
    write_archive(bundle, out)
    assert verdict(out, key) == 0
    for name in contents(bundle).keys() - {"manifest.json", "empty"}:
        data = (bundle / name).read_bytes()
        (bundle / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        write_archive(bundle, out)
        (bundle / name).write_bytes(data)
        assert verdict(out) == 5, name


def test_every_file_removed_or_renamed(bundle: Path) -> None:
    for name in contents(bundle):
        path = bundle / name
        path.rename(path.with_name("renamed"))
        assert verdict(bundle) == (2 if name == "manifest.json" else 5), name
        path.with_name("renamed").rename(path)
        if name != "SIGNATURE":
            data = path.read_bytes()
            path.unlink()
            assert verdict(bundle) == (2 if name == "manifest.json" else 5), name
            path.write_bytes(data)
    assert verdict(bundle) == 0


def test_a_removed_signature_is_noticed_by_who_has_the_key(bundle: Path, key: Path) -> None:
    (bundle / "SIGNATURE").unlink()
    assert verdict(bundle) == 0
    assert verdict(bundle, key) == 5


@pytest.mark.parametrize("name", ["added", "bin/added", "new/added", ".hidden"])
def test_an_added_file(bundle: Path, name: str) -> None:
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_bytes(b"")
    assert verdict(bundle) == 5


@pytest.mark.parametrize("name", ["labels.txt", "SHA256SUMS", "SIGNATURE", "manifest.json"])
def test_a_link_to_the_same_content(bundle: Path, tmp_path: Path, name: str) -> None:
    (bundle / name).rename(tmp_path / "moved")
    (bundle / name).symlink_to(tmp_path / "moved")
    assert verdict(bundle) == 5


def test_a_linked_folder(bundle: Path, tmp_path: Path) -> None:
    (bundle / "golden").rename(tmp_path / "golden")
    (bundle / "golden").symlink_to(tmp_path / "golden")
    assert verdict(bundle) == 5


def swap(bundle: Path) -> None:
    one, two = bundle / "labels.txt", bundle / MODEL_FILE
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)


def test_swapped_files(bundle: Path) -> None:
    swap(bundle)
    assert verdict(bundle) == 5


def test_swapped_files_with_a_manifest_to_fit(bundle: Path) -> None:
    swap(bundle)
    rewrite(bundle, dataclasses.replace(read_manifest(bundle), files=entries(bundle)))
    assert verdict(bundle) == 5


def test_everything_rewritten_but_the_signature(bundle: Path) -> None:
    swap(bundle)
    rewrite(bundle, dataclasses.replace(read_manifest(bundle), files=entries(bundle)))
    write_sums(bundle)
    assert verdict(bundle) == 5


def test_everything_rewritten_and_signed_by_another(
    bundle: Path, key: Path, tmp_path: Path
) -> None:
    swap(bundle)
    rewrite(bundle, dataclasses.replace(read_manifest(bundle), files=entries(bundle)))
    write_sums(bundle)
    sign(bundle, write_key(tmp_path / "other.pem", seed=2))
    assert verdict(bundle) == 0
    assert verdict(bundle, key) == 5


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"bytes": 1}])
def test_sums_that_contradict_the_manifest(
    bundle: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    """Whoever signs a bundle whose two lists differ has signed a broken one."""
    manifest = read_manifest(bundle)
    entry = dataclasses.replace(manifest.files["labels.txt"], **change)  # type: ignore[arg-type]
    files = {**manifest.files, "labels.txt": entry}
    rewrite(bundle, dataclasses.replace(manifest, files=files))
    write_sums(bundle)
    (bundle / "SIGNATURE").unlink()
    assert verdict(bundle) == 5
    write_archive(bundle, tmp_path / "a.zip")
    assert verdict(tmp_path / "a.zip") == 5


def test_sums_with_more_or_fewer_files_than_the_manifest(bundle: Path, key: Path) -> None:
    (bundle / "added").write_bytes(b"")
    write_sums(bundle)
    sign(bundle, key)
    assert verdict(bundle) == 5
    (bundle / "added").unlink()
    (bundle / "empty").unlink()
    write_sums(bundle)
    sign(bundle, key)
    assert verdict(bundle) == 5
