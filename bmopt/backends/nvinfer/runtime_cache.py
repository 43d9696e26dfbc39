"""The file that TensorRT-RTX keeps the kernels in that it compiled on this GPU."""

from __future__ import annotations

from pathlib import Path

from bmopt.backends.nvinfer.native import Native
from bmopt.core.files import atomic_file
from bmopt.errors import OutputError


class RuntimeCache:
    """An ``IRuntimeCache`` with its file."""

    def __init__(self, cache: Native, path: Path, saved: bytes) -> None:
        self._cache = cache
        self._path = path
        self._saved = saved

    def save(self, warnings: list[str]) -> None:
        """Write the file, atomically, where a run has added kernels.

        A file that cannot be written is a warning: the next run compiles them again.
        """
        memory = self._cache.serialize()
        data = b"" if memory is None else bytes(memory)
        if not data or data == self._saved:
            return
        try:
            with atomic_file(self._path) as scratch:
                scratch.write_bytes(data)
        except OutputError as error:
            warnings.append(f"the runtime cache is not kept: {error}")


def open_cache(config: Native, path: Path, warnings: list[str]) -> RuntimeCache:
    """Give ``config``, an ``IRuntimeConfig``, a cache that starts from the file ``path``.

    A cache that cannot be read or is of another GPU or version is a warning, and is replaced.
    """
    cache = config.create_runtime_cache()
    saved = b""
    try:
        saved = path.read_bytes() if path.exists() else b""
    except OSError as error:
        warnings.append(f"{path}: the runtime cache cannot be read ({error.strerror})")
    if saved and not cache.deserialize(saved):
        warnings.append(f"{path}: the runtime cache is of another GPU or version, or damaged")
        saved = b""
    config.set_runtime_cache(cache)
    return RuntimeCache(cache, path, saved)
