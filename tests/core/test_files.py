from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bmopt.core import files
from bmopt.core.files import atomic_file, atomic_folder, require_replaceable, write_text
from bmopt.errors import OutputError

MANIFEST_TEXT = '{"bmopt_artifact": 1}'


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def artifact(path: Path) -> Path:
    path.mkdir()
    (path / "manifest.json").write_text(MANIFEST_TEXT)
    (path / "old").write_text("old")
    return path


def fail_inside(out: Path, error: type[BaseException]) -> None:
    with atomic_folder(out) as folder:
        (folder / "new").write_text("new")
        raise error


def fail_writing(out: Path) -> None:
    with atomic_file(out) as scratch:
        scratch.write_text("new")
        raise KeyboardInterrupt


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er" / "out"
    with atomic_folder(out) as folder:
        (folder / "file").write_text("text")
        assert not out.exists()
    assert names(out) == ["file"]
    assert names(out.parent) == ["out"]
    assert out.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_of_a_folder_that_failed(
    tmp_path: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        fail_inside(tmp_path / "out", error)
    assert names(tmp_path) == []


def test_an_artifact_is_replaced_whole(tmp_path: Path) -> None:
    out = artifact(tmp_path / "out")
    with atomic_folder(out) as folder:
        (folder / "new").write_text("new")
    assert names(out) == ["new"]
    assert names(tmp_path) == ["out"]


def test_an_artifact_survives_a_failure(tmp_path: Path) -> None:
    out = artifact(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        fail_inside(out, KeyboardInterrupt)
    assert names(out) == ["manifest.json", "old"]
    assert names(tmp_path) == ["out"]


def test_an_artifact_survives_a_failure_of_the_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = artifact(tmp_path / "out")
    rename = Path.rename

    def fail_into_place(self: Path, target: Path) -> Path:
        if target == out and self.name != "old":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_into_place)
    with pytest.raises(OutputError, match="Input/output error"), atomic_folder(out):
        pass
    assert names(out) == ["manifest.json", "old"]
    assert names(tmp_path) == ["out"]


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
    assert names(tmp_path / "out") == ["new"]


@pytest.mark.parametrize(
    "manifest", [None, "{}", "[]", "no json", '{"name": "a browser extension", "version": 1}']
)
def test_other_peoples_folders_are_never_replaced(tmp_path: Path, manifest: str | None) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    if manifest is not None:
        (out / "manifest.json").write_text(manifest)
    before = names(out)
    with pytest.raises(OutputError, match="holds other files"), atomic_folder(out):
        pass
    assert names(out) == before
    assert names(tmp_path) == ["out"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(OutputError, match="is not a folder"):
        require_replaceable(tmp_path / "file")
    with pytest.raises(OutputError, match="is no folder"):
        require_replaceable(tmp_path / "file" / "deep" / "out")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is not a folder"):
        require_replaceable(tmp_path / "dangling")


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="no permission to write"):
        require_replaceable(tmp_path / "out")


def test_the_current_folder_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="cannot be replaced where it is"):
        require_replaceable(Path())


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, text: str, encoding: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"out: cannot be written \(No space left on device\)"):
        write_text(tmp_path / "out", "text")
    assert names(tmp_path) == []


def test_a_file_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.txt"
    write_text(out, "grüße\n")
    assert out.read_bytes() == "grüße\n".encode()
    assert names(out.parent) == ["out.txt"]
    assert out.stat().st_mode & 0o777 == 0o644


def test_a_file_survives_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fail_writing(out)
    assert out.read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is no regular file"), atomic_file(tmp_path):
        pass


def test_the_manifest_key_is_the_one_in_artifacts() -> None:
    assert files.MANIFEST_KEY in MANIFEST_TEXT
