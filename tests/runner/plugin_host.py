"""Drives an engine plugin of the native runner through its C table, in a process of its own.

``python plugin_host.py`` reads what to do as JSON from its input and prints what came out as JSON:
a plugin's crash, or the libraries that it loads, then stay away from the tests.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}
_NUMBERS = {name: number for number, name in DTYPES.items()}
_ERROR_BYTES = 1024


class _Info(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * 8),
    ]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * 8),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
    ]


class _Config(ctypes.Structure):
    _fields_ = [
        ("model_path", ctypes.c_char_p),
        ("library", ctypes.c_char_p),
        ("threads", ctypes.c_int32),
        ("keys", ctypes.POINTER(ctypes.c_char_p)),
        ("values", ctypes.POINTER(ctypes.c_char_p)),
        ("setting_count", ctypes.c_size_t),
        ("inputs", ctypes.POINTER(_Info)),
        ("input_count", ctypes.c_size_t),
        ("outputs", ctypes.POINTER(_Info)),
        ("output_count", ctypes.c_size_t),
    ]


class _Table(ctypes.Structure):
    _fields_ = [
        ("abi", ctypes.c_int32),
        ("name", ctypes.c_char_p),
        (
            "open",
            ctypes.CFUNCTYPE(
                ctypes.c_int,
                ctypes.POINTER(_Config),
                ctypes.POINTER(ctypes.c_void_p),
                ctypes.c_char_p,
            ),
        ),
        (
            "run",
            ctypes.CFUNCTYPE(
                ctypes.c_int,
                ctypes.c_void_p,
                ctypes.POINTER(_Tensor),
                ctypes.POINTER(_Tensor),
                ctypes.c_char_p,
            ),
        ),
        ("version", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)),
        ("close", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    ]


def _infos(dtypes: dict[str, str]) -> Any:
    infos = (_Info * max(1, len(dtypes)))()
    for info, (name, dtype) in zip(infos, dtypes.items(), strict=False):
        info.name, info.dtype = name.encode(), _NUMBERS[dtype]
    return infos


def _texts(texts: list[str]) -> Any:
    return (ctypes.c_char_p * max(1, len(texts)))(*[text.encode() for text in texts])


def _config(order: dict[str, Any]) -> _Config:
    settings = order.get("settings", {})
    library = order.get("library")
    return _Config(
        order["model"].encode(),
        None if library is None else library.encode(),
        order.get("threads", 0),
        _texts(list(settings)),
        _texts(list(settings.values())),
        len(settings),
        _infos(order["inputs"]),
        len(order["inputs"]),
        _infos(order["outputs"]),
        len(order["outputs"]),
    )


def _tensor(array: np.ndarray) -> _Tensor:
    shape = (ctypes.c_int64 * 8)(*array.shape)
    return _Tensor(_NUMBERS[array.dtype.name], array.ndim, shape, array.ctypes.data, array.nbytes)


def _run(table: _Table, session: ctypes.c_void_p, run: dict[str, Any], count: int) -> Any:
    arrays = [_array(feed) for feed in run["feeds"]]
    inputs = (_Tensor * len(arrays))(*map(_tensor, arrays))
    room = run.get("room", 4096)
    memories = [np.zeros(max(1, room), np.uint8) for _ in range(count)]
    outputs = (_Tensor * count)(*(_Tensor(data=m.ctypes.data, bytes=room) for m in memories))
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    status = table.run(session, inputs, outputs, error)
    first, *others = [_answer(*pair, status) for pair in zip(outputs, memories, strict=True)]
    return {"status": status, "error": error.value.decode(), **first, "others": others}


def _array(feed: dict[str, Any]) -> np.ndarray:
    """Return a feed's array, ``shift`` bytes after an address that is a multiple of 64."""
    array = np.array(feed["data"], feed["dtype"]).reshape(feed["shape"])
    memory = np.zeros(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + feed.get("shift", 0)
    placed = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    placed[...] = array
    return placed


def _answer(output: _Tensor, memory: np.ndarray, status: int) -> dict[str, Any]:
    shape, dtype = list(output.shape[: output.rank]), DTYPES.get(output.dtype, "")
    if status != 0:
        return {"shape": shape}
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    data = memory[:count].view(dtype).astype(float).tolist()
    return {"shape": shape, "dtype": dtype, "data": data}


def _tellings(plugin: ctypes.CDLL) -> int:
    return int(plugin.fake_tellings()) if hasattr(plugin, "fake_tellings") else 0


def _affinities() -> list[list[int]]:
    """Return on which processors each thread of this process may run."""
    return [
        sorted(os.sched_getaffinity(int(task.name))) for task in Path("/proc/self/task").iterdir()
    ]


def host(order: dict[str, Any]) -> dict[str, Any]:
    """Open, run as often as ordered, and close."""
    if "affinity" in order:
        os.sched_setaffinity(0, order["affinity"])
    plugin = ctypes.CDLL(order["plugin"])
    plugin.bm_engine.restype = ctypes.POINTER(_Table)
    table = plugin.bm_engine().contents
    session, error = ctypes.c_void_p(), ctypes.create_string_buffer(_ERROR_BYTES)
    status = table.open(ctypes.byref(_config(order)), ctypes.byref(session), error)
    result = {
        "name": table.name.decode(),
        "abi": table.abi,
        "status": status,
        "error": error.value.decode(),
    }
    if status == 0:
        result["version"] = table.version(session).decode()
        result["runs"] = [
            _run(table, session, run, len(order["outputs"])) for run in order.get("runs", [])
        ]
        result["tellings"] = _tellings(plugin)
        result["affinities"] = _affinities()
        table.close(session)
    return result


if __name__ == "__main__":
    print(json.dumps(host(json.loads(sys.stdin.read()))))
