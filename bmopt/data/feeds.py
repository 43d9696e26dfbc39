"""Samples that code produces: functions, factories and ONNX Runtime's calibration readers."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bmopt.core import digest
from bmopt.core.dataset import Batch, InputSpec
from bmopt.core.runner import Array
from bmopt.data.fit import fit
from bmopt.errors import DataError, OutputError


@runtime_checkable
class Reader(Protocol):
    """ONNX Runtime's ``CalibrationDataReader``: feeds one after the other, then ``None``."""

    def get_next(self) -> Mapping[str, Any] | None:
        """Return the next feeds, or ``None`` at the end."""


Feed = Mapping[str, Any] | tuple[Mapping[str, Any], Any]
"""Feeds of one inference (name -> array-like), alone or with the labels of their samples."""

Factory = Callable[[], Reader | Iterable[Feed]]
"""Returns the samples from the first one on, each time it is called."""

ArraySource = Reader | Factory


@dataclasses.dataclass(frozen=True)
class FeedDataset:
    """Feeds from a factory that is called anew for each iteration.

    Each feed is one inference and the batch size is ignored. A feed holds as many samples as it
    has labels; without labels, as its arrays agree on along axis 0, else one.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    factory: Factory
    limit: int | None
    origin: str | None = None

    @cached_property
    def has_labels(self) -> bool:
        """Whether batches carry labels."""
        return next(self.batches(1)).labels is not None

    @property
    def size(self) -> int:
        """How many samples there are; the first use runs through all of them."""
        return self._scanned[0]

    @cached_property
    def content(self) -> str:
        """Digest of what makes the samples: the origin where there is one, else the samples."""
        return self.origin or self._scanned[1]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content and the limit."""
        return digest.of_json([self.content, self.limit])

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield one batch per feed, in the source's order; ``batch_size`` is ignored."""
        seen, labelled = 0, None
        for index, feed in enumerate(_iterated(self.factory(), self.name)):
            if self.limit is not None and seen >= self.limit:
                return
            batch = self._batch(feed, f"{self.name}, feed {index}")
            if labelled is None:
                labelled = batch.labels is not None
            if labelled != (batch.labels is not None):
                raise DataError(f"{self.name}, feed {index}: only some feeds come with labels")
            seen += batch.size
            yield batch
        if labelled is None:
            raise DataError(f"{self.name}: yields no samples")

    @cached_property
    def _scanned(self) -> tuple[int, str]:
        samples, content = 0, hashlib.sha256()
        for batch in self.batches(1):
            samples += batch.size
            for name, array in (*batch.feeds.items(), ("", batch.labels)):
                if array is not None:
                    content.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
                    content.update(np.ascontiguousarray(array).tobytes())
        return samples, content.hexdigest()

    def _batch(self, feed: Feed, where: str) -> Batch:
        values, labels = feed if isinstance(feed, tuple) and len(feed) == 2 else (feed, None)
        if not isinstance(values, Mapping):
            raise DataError(
                f"{where}: is a {type(values).__name__}; yield a dict of arrays by input name, "
                "or (dict, labels)"
            )
        self._require_names(values, where)
        feeds = {
            spec.name: fit(np.asarray(values[spec.name]), spec, f"{where}, {spec.name!r}")
            for spec in self.inputs
        }
        if labels is None:
            return Batch(feeds, _samples(feeds))
        classes = np.asarray(labels).reshape(-1)
        if classes.dtype.kind not in "iu" or not classes.size:
            raise DataError(f"{where}: labels must be class indices (integers)")
        return Batch(feeds, classes.size, classes.astype(np.int64))

    def _require_names(self, values: Mapping[str, Any], where: str) -> None:
        wanted = [spec.name for spec in self.inputs]
        if values.keys() != set(wanted):
            have = ", ".join(sorted(str(name) for name in values)) or "nothing"
            raise DataError(f"{where}: feeds {have}, but the model wants {', '.join(wanted)}")


def open_function(spec: str, inputs: Sequence[InputSpec], *, limit: int | None) -> FeedDataset:
    """Return the feeds that ``module:function`` yields; the working directory is importable.

    Raises:
        DataError: There is no such module or function, or its feeds do not fit the model.
    """
    module_name, _, function_name = spec.partition(":")
    function = getattr(_imported(module_name), function_name, None)
    if not callable(function):
        raise DataError(f"{spec}: module {module_name} has no function {function_name!r}")
    source = getattr(sys.modules[module_name], "__file__", None)
    code = "" if source is None else digest.of_file(Path(source))
    origin = digest.of_json([spec, code])
    return _checked(FeedDataset(spec, tuple(inputs), function, limit, origin))


def open_factory(factory: Factory, inputs: Sequence[InputSpec], limit: int | None) -> FeedDataset:
    """Return the feeds of ``factory()``; see ``FeedDataset``."""
    name = getattr(factory, "__qualname__", type(factory).__name__)
    return _checked(FeedDataset(name, tuple(inputs), factory, limit))


def open_reader(reader: Reader, inputs: Sequence[InputSpec], limit: int | None) -> FeedDataset:
    """Return the feeds of a reader, which are spooled to disk because it reads only once.

    The spool is removed with the data set, or when the interpreter ends.

    Raises:
        DataError: The reader is empty or its feeds do not fit the model.
        OutputError: The spool cannot be written.
    """
    name = type(reader).__name__
    once = FeedDataset(name, tuple(inputs), lambda: reader, limit)
    folder = _spool_folder()
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        files = [_spooled(batch, folder / f"{i}.npz") for i, batch in enumerate(once.batches(1))]
        names = tuple(spec.name for spec in inputs)
        dataset = FeedDataset(name, tuple(inputs), partial(_respooled, files, names), None)
        weakref.finalize(dataset, undo.pop_all().close)
    return dataset


def _checked(dataset: FeedDataset) -> FeedDataset:
    """Look at the first feed, so that a data set that cannot fit is refused when opened."""
    _ = dataset.has_labels
    return dataset


def _imported(name: str) -> object:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(f"{name}: cannot be imported ({error})") from error
    finally:
        sys.path.pop(0)


def _iterated(source: Reader | Iterable[Feed], name: str) -> Iterator[Feed]:
    if isinstance(source, Reader):
        while (feed := source.get_next()) is not None:
            yield feed
    elif isinstance(source, Iterable):
        yield from source
    else:
        raise DataError(f"{name}: gives a {type(source).__name__}; give feeds or a reader")


def _samples(feeds: Mapping[str, Array]) -> int:
    lengths = {array.shape[0] for array in feeds.values() if array.ndim}
    return lengths.pop() if len(lengths) == 1 else 1


def _spool_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="bmopt-spool-"))
    except OSError as error:
        raise OutputError(f"cannot spool the samples to disk ({error})") from error


def _spooled(batch: Batch, path: Path) -> Path:
    try:
        # By position: an input may have a name that savez takes for one of its own arguments.
        np.savez(path, *batch.feeds.values())
    except OSError as error:
        raise OutputError(f"{path}: cannot spool the samples ({error.strerror})") from error
    return path


def _respooled(files: Sequence[Path], names: Sequence[str]) -> Iterator[Feed]:
    for path in files:
        with np.load(path) as arrays:
            yield {name: arrays[f"arr_{i}"] for i, name in enumerate(names)}
