"""Open a data set from what a user writes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bmopt.core.dataset import Dataset, InputSpec
from bmopt.data.arrays import open_arrays
from bmopt.data.feeds import ArraySource, Reader, open_factory, open_function, open_reader
from bmopt.data.images import open_images
from bmopt.data.preprocess import Preprocess
from bmopt.data.synthetic import DEFAULT_SIZE, open_random
from bmopt.errors import DataError, UsageError

_RANDOM = re.compile(r"random(?::(?P<size>.*))?")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_FORMS = "an .npz, .npy or .csv file, a folder of images, module:function, or random[:N]"


def open_dataset(
    spec: str | Path | Dataset | ArraySource,
    inputs: Sequence[InputSpec],
    options: Preprocess | None = None,
    *,
    seed: int = 0,
    limit: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Dataset:
    """Open samples for a model with ``inputs``, and check the first of them.

    Args:
        spec: ``FILE.npz``, ``FILE.npy``, a folder of images or a CSV (``file,label``), each with
            an optional query (``val.npz?x=images&scale=1/255``); ``module:function`` yielding
            feeds or (feeds, labels); ``random[:N]``; a reader (an object with ``get_next``); a
            function that returns a reader or an iterable of feeds; or a data set, returned as
            it is.
        inputs: The model's inputs.
        options: Preprocessing of files. It overrides ``DATA.toml`` beside a file and
            ``preprocess.toml`` in a folder; a query overrides both.
        seed: For ``random``.
        limit: Take at most this many samples, in order; whole feeds are never cut.
        shapes: Input name -> shape, for ``random`` where axes other than the first are dynamic.

    Raises:
        DataError: Samples that are missing, empty, misnamed, misshapen or not finite.
        UsageError: A spec or option that makes no sense.
        OutputError: A reader's samples cannot be spooled to disk.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: take at least one sample")
    if isinstance(spec, str | Path):
        random = _RANDOM.fullmatch(str(spec))
        if random is not None:
            size = _random_size(random["size"], limit)
            return open_random(inputs, name=str(spec), size=size, seed=seed, shapes=shapes or {})
        return _open_text(str(spec), inputs, options or Preprocess(), limit)
    if isinstance(spec, Reader) and not isinstance(spec, type):
        return open_reader(spec, inputs, limit)
    if callable(spec):
        return open_factory(spec, inputs, limit)
    if not hasattr(spec, "batches"):
        raise UsageError(f"{type(spec).__name__}: is no data set; give {_FORMS}, or a reader")
    if limit is not None:
        raise UsageError("limit: cannot be applied to a data set that is already open")
    return spec


def preprocessing(spec: str, options: Preprocess | None = None) -> Preprocess:
    """Return what is done to the samples of a file or folder that ``open_dataset`` opens.

    Nothing is read but the options beside the data, where those are still there.

    Raises:
        DataError: The options beside the data cannot be read.
        UsageError: An option makes no sense.
    """
    path, query = _split_query(spec)
    return _merged(path, options or Preprocess(), query)


def _merged(path: Path, options: Preprocess, query: Preprocess) -> Preprocess:
    return _beside(path).merged(options).merged(query)


def _open_text(
    text: str, inputs: Sequence[InputSpec], options: Preprocess, limit: int | None
) -> Dataset:
    path, query = _split_query(text)
    if not path.exists() and _FUNCTION.fullmatch(text):
        return open_function(text, inputs, limit=limit)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; give {_FORMS}")
    merged = _merged(path, options, query)
    if path.is_dir() or path.suffix.lower() == ".csv":
        return open_images(path, inputs, merged, name=text, limit=limit)
    if path.suffix.lower() in (".npz", ".npy"):
        return open_arrays(path, inputs, merged, name=text, limit=limit)
    raise DataError(f"{path}: is not a known kind of data; give {_FORMS}")


def _split_query(text: str) -> tuple[Path, Preprocess]:
    base, _, query = text.partition("?")
    if not query or Path(text).exists():
        return Path(text), Preprocess()
    return Path(base), Preprocess.from_options(query.split("&"))


def _beside(path: Path) -> Preprocess:
    """Return the preprocessing that is stored with the data."""
    toml = path / "preprocess.toml" if path.is_dir() else path.with_suffix(".toml")
    return Preprocess.from_toml(toml) if toml.is_file() else Preprocess()


def _random_size(text: str | None, limit: int | None) -> int:
    if text is None:
        size = DEFAULT_SIZE
    elif text.isdecimal() and int(text) > 0:
        size = int(text)
    else:
        raise UsageError(f"random:{text}: N must be a whole number of samples, at least 1")
    return size if limit is None else min(size, limit)
