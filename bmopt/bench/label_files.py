"""Labels in a file of their own, for data that come without.

They lie in the order of the samples; a file may hold more than there are samples. Forms:

``.npy``, ``.npz``
    One entry per sample; of several arrays in an .npz the one called ``labels``.
``.txt``
    One text per line.
``.csv``
    The column ``label``: numbers where all of them are, else texts.
``.json``
    COCO's annotations of boxes, see ``bmopt.bench.coco_labels``.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bmopt.core.runner import Array
from bmopt.errors import DataError


def load_labels(file: str) -> Array:
    """Return the labels, one entry per sample.

    Raises:
        DataError: The file is missing, damaged, empty or of another form.
    """
    path = Path(file)
    readers = {".npy": _from_npy, ".npz": _from_npz, ".txt": _from_txt, ".csv": _from_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        forms = ", ".join(readers)
        raise DataError(f"{path}: labels come in {forms} files, or in .json for boxes")
    try:
        labels = reader(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: labels cannot be read ({error})") from error
    if not labels.ndim or not len(labels):
        raise DataError(f"{path}: holds no labels; give one entry per sample")
    return labels


def _from_npy(path: Path) -> Array:
    labels: Array = np.load(path, allow_pickle=False)
    return labels


def _from_npz(path: Path) -> Array:
    with np.load(path, allow_pickle=False) as arrays:
        names = list(arrays)
        name = "labels" if "labels" in names else names[0]
        if name != "labels" and len(names) > 1:
            raise DataError(f"{path}: has no array 'labels'; it has {', '.join(names)}")
        labels: Array = arrays[name]
    return labels


def _from_txt(path: Path) -> Array:
    return np.array(path.read_text(encoding="utf-8").splitlines(), dtype=np.str_)


def _from_csv(path: Path) -> Array:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if "label" not in (reader.fieldnames or ()):
            raise DataError(f"{path}: has no column 'label' in its first line")
        texts = [row["label"] or "" for row in reader]
    whole = _numbers(texts, int)
    found = _numbers(texts, float) if whole is None else whole
    return np.array(texts, dtype=np.str_) if found is None else found


def _numbers(texts: Sequence[str], kind: Callable[[str], float]) -> Array | None:
    try:
        return np.array([kind(text) for text in texts])
    except ValueError:
        return None
