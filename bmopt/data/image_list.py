"""Which image files a folder or a CSV holds, and their labels."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bmopt.errors import DataError

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp"})


def list_images(path: Path, labels: str | None) -> tuple[list[Path], list[int] | None]:
    """Return the images of a folder or CSV in order, with their class indices if they have any.

    A CSV has the columns ``file,label``; files are relative to it. The labels of a folder come
    from the CSV ``labels``, else from ``labels.csv`` in it or ``FOLDER_labels.csv`` beside it,
    else from its sub-folders: their index in sorted order, or their number where every sub-folder
    is named by one. A folder without any of these has no labels.

    Raises:
        DataError: No images, a CSV that cannot be read, or a file in it that does not exist.
    """
    listing = path if path.is_file() else _label_file(path, labels)
    files, classes = _from_folder(path) if listing is None else _from_csv(listing, path)
    if not files:
        raise DataError(f"{path}: has no images ({', '.join(sorted(_SUFFIXES))})")
    return files, classes


def _label_file(folder: Path, labels: str | None) -> Path | None:
    if labels is not None:
        for path in (folder / labels, Path(labels)):
            if path.is_file():
                return path
        raise DataError(f"{labels}: no such file; labels= names a CSV")
    beside = folder.resolve()
    candidates = (folder / "labels.csv", beside.parent / f"{beside.name}_labels.csv")
    return next((path for path in candidates if path.is_file()), None)


def _from_csv(listing: Path, folder: Path) -> tuple[list[Path], list[int]]:
    try:
        with listing.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not {"file", "label"} <= set(reader.fieldnames or ()):
                raise DataError(f"{listing}: has no columns 'file' and 'label' in its first line")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{listing}: cannot be read as CSV ({error})") from error
    files = [_listed_file(listing, folder, row, line) for line, row in enumerate(rows, 2)]
    return files, [_label(listing, row, line) for line, row in enumerate(rows, 2)]


def _listed_file(listing: Path, folder: Path, row: Mapping[str, str], line: int) -> Path:
    for base in (listing.parent, folder):
        path = base / (row["file"] or "")
        if path.is_file():
            return path
    raise DataError(f"{listing}, line {line}: no such file: {row['file']}")


def _label(listing: Path, row: Mapping[str, str], line: int) -> int:
    try:
        return int(row["label"])
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{listing}, line {line}: label {row['label']!r} is no class index"
        ) from error


def _from_folder(folder: Path) -> tuple[list[Path], list[int] | None]:
    loose = _images(folder.iterdir())
    folders = (path for path in folder.iterdir() if path.is_dir())
    classes = sorted(path for path in folders if not path.name.startswith("."))
    members = {path: _images(path.rglob("*")) for path in classes}
    if not any(members.values()):
        return loose, None
    if loose:
        raise DataError(f"{folder}: has images both beside and in sub-folders; keep one kind")
    numbers = _class_numbers([path.name for path in classes])
    pairs = [(f, numbers[path.name]) for path in classes for f in members[path]]
    return [file for file, _ in pairs], [label for _, label in pairs]


def _class_numbers(names: Sequence[str]) -> dict[str, int]:
    # Sorted as text, class "10" would come before "2": numbers mean themselves.
    if all(name.isdecimal() for name in names):
        return {name: int(name) for name in names}
    return {name: index for index, name in enumerate(names)}


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(p for p in paths if p.suffix.lower() in _SUFFIXES and p.is_file())
