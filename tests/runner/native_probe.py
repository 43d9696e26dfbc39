"""The runner's inner functions, built as a small library and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

_ROOT = Path(__file__).parents[2]
RUNNER = _ROOT / "cpp_ext" / "runner"
BUILD = _ROOT / "build" / "runner-tests"
_SOURCES = (
    *("base64", "classes", "dtype", "files", "json", "json_parser", "npy", "npy_header"),
    *("pixels", "pixels_cast", "pixels_damage", "pixels_decode", "pixels_resize"),
    *("pixels_tensor", "sha256", "signature", "signature_libcrypto", "utf8"),
)
_STB_FOLDERS = ("/usr/include/stb", "/usr/local/include/stb")
_CAPACITY = 1 << 24


class NativeError(Exception):
    """A Failure of the runner: its status and message."""

    def __init__(self, status: int, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.status = status


def stb_folder() -> str | None:
    """Return the folder of stb_image.h, None where it is not installed."""
    return next((f for f in _STB_FOLDERS if (Path(f) / "stb_image.h").is_file()), None)


@functools.cache
def native_probe() -> NativeProbe:
    """Return the library, compiled where it is not yet; skip the test without a compiler."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    pictures = ("pixels_stb",) if stb_folder() is not None else ()
    names = [RUNNER / "src" / f"{name}.cpp" for name in (*_SOURCES, *pictures)]
    sources = [Path(__file__).with_name("native_probe.cpp"), *names]
    headers = [*sorted((RUNNER / "src").glob("*.h")), *sorted((RUNNER / "include").glob("*.h"))]
    content = b"".join(file.read_bytes() for file in (*sources, *headers)) + str(pictures).encode()
    library = BUILD / f"probe-{hashlib.sha256(content).hexdigest()[:16]}.so"
    if not library.is_file():
        BUILD.mkdir(parents=True, exist_ok=True)
        _build(sources, library)
    return NativeProbe(library)


def _build(sources: list[Path], library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(functools.partial(_compile, Path(folder)), sources))
        made = Path(folder) / library.name
        _call(["g++", "-shared", *map(str, objects), "-o", str(made), "-ldl"])
        made.replace(library)


def _compile(folder: Path, source: Path) -> Path:
    stb = stb_folder()
    pictures = [] if stb is None else ["-DBMOPT_RUNNER_STB", "-isystem", stb]
    includes = ["-I", str(RUNNER / "include"), "-I", str(RUNNER / "src")]
    flags = ["-std=c++17", "-O0", "-fPIC", "-ffp-contract=off", *pictures, *includes]
    made = folder / f"{source.stem}.o"
    _call(["g++", *flags, "-c", str(source), "-o", str(made)])
    return made


def _call(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


class NativeProbe:
    """Calls into the library; every method raises ``NativeError``."""

    def __init__(self, library: Path) -> None:
        """Load it."""
        self._library = ctypes.CDLL(str(library))
        self._library.probe_message.restype = ctypes.c_char_p
        self._out = np.zeros(_CAPACITY, np.uint8)

    def decode(self, path: Path) -> npt.NDArray[np.uint8]:
        """Return the pixels of a file, ``[h, w, c]``."""
        size = np.zeros(3, np.int32)
        data = self._call("probe_decode", str(path).encode(), *self._room(), _address(size))
        return data.reshape(tuple(size))

    def resize(self, image: npt.NDArray[np.uint8], height: int, width: int) -> Any:
        """Return ``[h, w, c]`` pixels in another size."""
        pixels, size = np.ascontiguousarray(image), np.array(image.shape, np.int32)
        to = np.array([height, width, 0], np.int32)
        addresses = (_address(pixels), _address(size), _address(to))
        return self._call("probe_resize", *addresses, *self._room()).reshape(tuple(to))

    def tensor(
        self, image: npt.NDArray[np.uint8], steps: Mapping[str, Any], dtype: str, shape: list[int]
    ) -> Any:
        """Return the input array of ``[h, w, c]`` pixels."""
        pixels, size = np.ascontiguousarray(image), np.array(image.shape, np.int32)
        found = np.zeros(8, np.int64)
        texts = (json.dumps(dict(steps)), json.dumps({"dtype": dtype, "shape": shape}))
        arguments = (_address(pixels), _address(size), *(text.encode() for text in texts))
        data = self._call("probe_tensor", *arguments, *self._room(), _address(found))
        return data.view(dtype).reshape(tuple(found[: len(shape)]))

    def cast(self, values: npt.NDArray[np.float32], dtype: str) -> Any:
        """Return float32 values in another type."""
        count = ctypes.c_size_t(values.size)
        arguments = (_address(values), count, dtype.encode())
        return self._call("probe_cast", *arguments, *self._room()).view(dtype)

    def base64(self, text: bytes) -> bytes:
        """Return the bytes of a strict base64 text."""
        count = ctypes.c_size_t(len(text))
        return self._call("probe_base64", text, count, *self._room()).tobytes()

    def signature(self, folder: Path, key: str = "") -> str:
        """Return the key that signed a folder, empty where it is not signed."""
        arguments = (str(folder).encode(), key.encode())
        return self._call("probe_signature", *arguments, *self._room()).tobytes().decode()

    def top(self, scores: npt.NDArray[np.float32], count: int) -> list[int]:
        """Return the indices of the highest scores."""
        sizes = (ctypes.c_size_t(scores.size), ctypes.c_size_t(count))
        data = self._call("probe_top", _address(scores), *sizes, *self._room())
        return [int(index) for index in data.tobytes().split()]

    def labels(self, path: Path) -> list[str]:
        """Return the labels of a file."""
        data = self._call("probe_labels", str(path).encode(), *self._room())
        return data.tobytes().decode().split("|")[:-1]

    def _room(self) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
        return _address(self._out), ctypes.c_size_t(_CAPACITY)

    def _call(self, name: str, *arguments: object) -> npt.NDArray[np.uint8]:
        function: Callable[..., int] = getattr(self._library, name)
        function.restype = ctypes.c_long  # type: ignore[attr-defined]
        size = function(*arguments)
        if size < 0:
            raise NativeError(-size, self._library.probe_message().decode())
        return self._out[:size].copy()


def _address(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
