"""Folders and lists of images, decoded batch by batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from bmopt.core import digest
from bmopt.core.dataset import Batch, InputSpec
from bmopt.core.runner import Array
from bmopt.data import pixels
from bmopt.data.fit import fit, is_float, numpy_dtype
from bmopt.data.image_list import list_images
from bmopt.data.preprocess import Preprocess
from bmopt.errors import DataError, UsageError

_WIDE_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})


@dataclasses.dataclass(frozen=True)
class ImageDataset:
    """Image files in order, each with its label or none of them with one.

    Pixels are taken as stored: an EXIF rotation is not applied. Where the model fixes its batch
    size, a last batch that is not full repeats its last image; ``Batch.size`` counts real ones.
    """

    name: str
    files: tuple[Path, ...]
    labels: tuple[int, ...] | None
    spec: InputSpec
    options: Preprocess

    @property
    def size(self) -> int:
        """How many images there are."""
        return len(self.files)

    @property
    def has_labels(self) -> bool:
        """Whether batches carry labels."""
        return self.labels is not None

    @cached_property
    def content(self) -> str:
        """Digest of the images' bytes, whatever is done to them."""
        return digest.of_json([[f.name, digest.of_file(f)] for f in self.files])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the images, their labels and the preprocessing."""
        options = self.options.to_dict()
        options.pop("labels", None)
        return digest.of_json([self.content, self.labels, options])

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield batches in the list's order."""
        fixed = self.spec.shape[0] if self.spec.shape else None
        group = fixed if isinstance(fixed, int) else max(1, batch_size)
        for start in range(0, len(self.files), group):
            files = self.files[start : start + group]
            repeats = group - len(files) if isinstance(fixed, int) else 0
            feed = self._feed((*files, *files[-1:] * repeats))
            yield Batch({self.spec.name: feed}, len(files), self._labels(start, len(files)))

    def _labels(self, start: int, count: int) -> Array | None:
        if self.labels is None:
            return None
        return np.array(self.labels[start : start + count], np.int64)

    def _feed(self, files: Sequence[Path]) -> Array:
        images = [self._decoded(file) for file in files]
        for file, image in zip(files, images, strict=True):
            if image.shape != images[0].shape:
                raise DataError(
                    f"{file}: is {_size_text(image)}, but {files[0].name} is "
                    f"{_size_text(images[0])}; add resize=HxW or crop="
                )
        where = str(files[0]) if len(files) == 1 else f"{files[0]} .. {files[-1].name}"
        done = dataclasses.replace(self.options, resize=None, crop=None)
        feed = pixels.convert(np.stack(images), done, self.spec, where)
        return fit(feed, self.spec, where, finite=True)

    def _decoded(self, file: Path) -> Array:
        """Return the resized and cropped image, uint8 ``[h, w, c]``."""
        mode = "L" if pixels.wants_grey(self.options, self.spec) else "RGB"
        try:
            with Image.open(file) as image:
                if image.mode in _WIDE_MODES:
                    raise DataError(f"{file}: has more than 8 bits per channel; convert it")
                sized = pixels.sized(image.convert(mode), self.options)
        except FileNotFoundError as error:
            raise DataError(f"{file}: no such file") from error
        except UnidentifiedImageError as error:
            raise DataError(f"{file}: is no image that can be read, or is damaged") from error
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{file}: is a damaged image ({error})") from error
        array = np.asarray(sized)
        images = array[None, ..., None] if array.ndim == 2 else array[None]
        cropped: Array = pixels.cropped(images, self.options.crop, str(file))[0]
        return cropped


def open_images(
    path: Path,
    inputs: Sequence[InputSpec],
    options: Preprocess,
    *,
    name: str,
    limit: int | None,
) -> ImageDataset:
    """Open a folder of images, or a CSV that lists them; see ``list_images`` for the labels.

    Raises:
        DataError: Nothing to read, a damaged image, or images that do not fit the model.
        UsageError: An option that makes no sense for images.
    """
    spec = _image_input(inputs, options, path)
    files, labels = list_images(path, options.labels)
    kept = None if labels is None else tuple(labels[:limit])
    dataset = ImageDataset(name, tuple(files[:limit]), kept, spec, options)
    for _ in dataset.batches(1):
        break
    return dataset


def _image_input(inputs: Sequence[InputSpec], options: Preprocess, path: Path) -> InputSpec:
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs) or "none"
        raise DataError(f"{path}: images feed one input, the model has {names}; use an .npz")
    if options.x is not None or options.y is not None:
        raise UsageError(f"{path}: x= and y= are for .npz files; use labels=FILE.csv for images")
    if is_float(numpy_dtype(inputs[0].dtype)) and not options.touches_pixels:
        raise DataError(
            f"{path}: say how pixels become {inputs[0].dtype}: scale=1/255 (scale=1 for raw "
            "0..255), mean=, std= as options or in preprocess.toml"
        )
    return inputs[0]


def _size_text(image: Array) -> str:
    return f"{image.shape[0]}x{image.shape[1]} pixels"
