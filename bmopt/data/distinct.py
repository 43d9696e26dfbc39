"""Keep calibration and validation apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from bmopt.core import digest
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.runner import Array
from bmopt.data.images import ImageDataset
from bmopt.data.synthetic import RandomDataset
from bmopt.errors import DataError

_BATCH = 64
_DIGEST_BYTES = 16
_MOST_SHARED = 0.01


def require_distinct(calib: Dataset, val: Dataset) -> str:
    """Refuse validation on samples that calibration has seen.

    Data sets are the same where the stored arrays or images are, whatever is done to them and
    however many are taken; random ones where their seeds are. Of others each sample is compared
    by what the model is fed with, in whatever order and file; of two lists of images by the
    files. Both are read once, and 16 bytes are kept of each calibration sample. Random samples
    are not compared with others.

    Data of few values have equal samples by nature, which change no verdict while they are few:
    up to one in a hundred is let pass.

    Returns:
        What is to be said of those that are let pass; empty where there are none.

    Raises:
        DataError: The sets are the same or share more samples, or one cannot be read.
    """
    if _content(calib) == _content(val):
        raise DataError(
            f"calibration and validation use the same samples ({calib.name}, {val.name}); "
            "validate on samples that calibration has not seen"
        )
    if isinstance(calib, RandomDataset) or isinstance(val, RandomDataset):
        return ""
    by_file = isinstance(calib, ImageDataset) and isinstance(val, ImageDataset)
    seen = set(_samples(calib, by_file=by_file))
    total, shared = 0, []
    for index, sample in enumerate(_samples(val, by_file=by_file)):
        total += 1
        if sample in seen:
            shared.append(index)
    if not shared:
        return ""
    text = (
        f"{len(shared)} of {total} validation samples are calibration samples, first at index "
        f"{shared[0]} of {val.name}"
    )
    if len(shared) > _MOST_SHARED * total:
        raise DataError(f"{text}; validate on samples that calibration has not seen")
    return text


def sample_digests(batch: Batch) -> Iterator[bytes]:
    """Yield a digest of what the model is fed with, for each sample of a batch.

    Feeds without a row per sample belong to all of them. Rows that padding made do not count.
    """
    rows = {name: _rows(array, batch.size) for name, array in batch.feeds.items()}
    for place in range(batch.size):
        found = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        for name in sorted(rows):
            part = rows[name]
            value = batch.feeds[name] if part is None else part[place]
            found.update(f"{name}\0{value.dtype.name}\0{value.shape}\0".encode())
            found.update(_bytes(value))
        yield found.digest()


def _samples(dataset: Dataset, *, by_file: bool) -> Iterator[bytes]:
    if by_file and isinstance(dataset, ImageDataset):
        yield from (bytes.fromhex(digest.of_file(file)) for file in dataset.files)
        return
    for batch in dataset.batches(_BATCH):
        yield from sample_digests(batch)


def _rows(array: Array, size: int) -> Array | None:
    """Return the array if it has a row per sample, maybe followed by padding."""
    if not array.ndim or len(array) < size:
        return None
    if len(array) == size:
        return array
    # Padding repeats the last sample; anything else behind it is no padding.
    padding = array[size - 1 :]
    is_padded = array.ndim > 1 and all(_bytes(row) == _bytes(padding[0]) for row in padding[1:])
    return array[:size] if is_padded else None


def _bytes(value: Array) -> bytes:
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        return "\0".join(map(str, array.reshape(-1).tolist())).encode()
    return np.ascontiguousarray(array).tobytes()


def _content(dataset: Dataset) -> str:
    # A data set of the user's own need not tell its content from what is done to it.
    content = getattr(dataset, "content", dataset.fingerprint)
    return str(content)
