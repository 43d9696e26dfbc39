"""The program that measures candidates: what it compiles and runs may crash it, or hang.

It answers ``bmopt.core.conversation``; its own alarm ends it where nobody is left to do so.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.importing import Native, line_of
from bmopt.backends.tvm.names import MAIN, Port
from bmopt.backends.tvm.runtime import TvmRunner, open_library
from bmopt.backends.tvm.tuning import search_space
from bmopt.backends.tvm.tuning.place import Arrays, Place, place_of
from bmopt.backends.tvm.tuning.timing import Comparison, Timed, calls_for, compared
from bmopt.core.conversation import Command
from bmopt.errors import BmoptError, BuildError

_CLOSE = 1e-3
_MEDIAN_OF = 5


class _Measurer:
    """What the commands share.

    Functions are kept by their text, so that the default of a task is compiled once.
    """

    def __init__(self) -> None:
        self._target: Native = None
        self._place: Place | None = None
        self._kept: dict[str, tuple[Native, Timed, list[np.ndarray[Any, Any]]]] = {}

    def open(
        self, _tell: object, *, target: Mapping[str, Any], board: str, compiler: str, limit_s: int
    ) -> None:
        """Be ready to measure what is compiled for ``target``."""
        with _limited(limit_s):
            self._target = probe.load("tvm").target.Target(dict(target))
            self._place = place_of(board, compiler)

    def time(self, _tell: object, *, default: str, threads: int, limit_s: int) -> float:
        """Return the microseconds of a call."""
        with _limited(limit_s):
            self._here.use_threads(threads)
            _, run, _ = self._ready(default)
            calls = calls_for(run(1))
            return sorted(run(calls) for _ in range(_MEDIAN_OF))[_MEDIAN_OF // 2] / 1e3

    def compare(
        self,
        _tell: object,
        *,
        default: str,
        candidate: str,
        threads: int,
        rounds: int,
        limit_s: int,
    ) -> Comparison:
        """Return how a candidate compares with the default.

        Raises:
            BuildError: It does not compile, or computes something else.
        """
        with _limited(limit_s):
            self._here.use_threads(threads)
            _, run, wanted = self._ready(default)
            _, other, found = self._loaded(candidate)
            if not all(map(_is_close, found, wanted)):
                raise BuildError("it computes something else than the default")
            return compared(other, run, rounds)

    def propose(
        self,
        _tell: object,
        *,
        function: str,
        known: list[search_space.Measured],
        count: int,
        limit_s: int,
    ) -> list[str]:
        """Return traces that TVM's search has for a function, other than those known."""
        with _limited(limit_s), _reported():
            module = probe.load("tvm").ir.load_json(function)
            return search_space.proposed(module, self._target, known, count)

    def libraries(
        self, _tell: object, *, paths: Mapping[str, str], threads: int, rounds: int, limit_s: int
    ) -> Comparison:
        """Return how one library of a model compares with another."""
        with _limited(limit_s), _reported():
            runners = [
                open_library(Path(paths[name]), threads=threads)
                for name in ("candidate", "default")
            ]
            feeds = _feeds(runners[0].signature.inputs)
            candidate, default = (_run_of(one, feeds) for one in runners)
            return compared(candidate, default, rounds)

    def leave(self, _tell: object) -> None:
        """Let go of everything at the place, and of the place."""
        self._kept.clear()
        self._place = None
        gc.collect()

    @property
    def _here(self) -> Place:
        assert self._place is not None
        return self._place

    def _ready(self, text: str) -> tuple[Native, Timed, list[np.ndarray[Any, Any]]]:
        if text not in self._kept:
            self._kept.clear()
            self._kept[text] = self._loaded(text)
        return self._kept[text]

    def _loaded(self, text: str) -> tuple[Native, Timed, list[np.ndarray[Any, Any]]]:
        with _reported():
            tvm = probe.load("tvm")
            module = tvm.ir.load_json(text)
            arrays = arguments_of(module[MAIN])
            with tvm.transform.PassContext(opt_level=3):
                function = self._here.load(module, self._target)
            results = self._here.results(function, arrays)
            return function, self._here.timed(function, arrays), results


def arguments_of(function: Native) -> Arrays:
    """Return seeded arguments of a function, whose symbols become 1."""
    random = np.random.default_rng(0)
    found = []
    known = probe.load("tvm.tirx").IntImm
    for buffer in function.params:
        sizes = [int(one) if isinstance(one, known) else 1 for one in buffer.shape]
        kind = np.dtype(str(buffer.dtype))
        if kind.kind == "f":
            found.append(random.uniform(-1.0, 1.0, sizes).astype(kind))
        elif kind.itemsize == 1 and kind.kind in "iu":
            limits = np.iinfo(kind)
            found.append(random.integers(limits.min, limits.max + 1, sizes, kind))
        else:
            found.append(random.integers(0, 2, sizes).astype(kind))
    return found


def _feeds(ports: Sequence[Port]) -> dict[str, np.ndarray[Any, Any]]:
    """Return seeded inputs of a model, whose symbols become 1."""
    random = np.random.default_rng(0)
    found = {}
    for port in ports:
        sizes = [one if isinstance(one, int) else 1 for one in port.shape or ()]
        values = random.uniform(-1.0, 1.0, sizes)
        kind = np.dtype(port.dtype or "float32")
        found[port.name] = np.asarray(values if kind.kind == "f" else values > 0, kind)
    return found


def _run_of(runner: TvmRunner, feeds: dict[str, np.ndarray[Any, Any]]) -> Timed:
    def run(calls: int) -> float:
        start = time.perf_counter_ns()
        for _ in range(calls):
            runner.run(feeds)
        return (time.perf_counter_ns() - start) / calls

    return run


def _is_close(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Whether two results are the same but for the order of additions."""
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    largest = float(np.nanmax(np.abs(other), initial=1.0))
    return bool(np.allclose(one, other, rtol=_CLOSE, atol=_CLOSE * largest, equal_nan=True))


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Die some time after the limit, in case whoever watches it has died."""
    signal.alarm(seconds + 10)
    try:
        yield
    finally:
        signal.alarm(0)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Turn whatever TVM raises into an answer."""
    try:
        yield
    except BmoptError:
        raise
    except Exception as error:
        raise BuildError(line_of(error)) from error


def commands() -> Mapping[str, Command]:
    """Return what this program answers."""
    # TVM reads it when its pool is made: the most threads that it will ever have.
    os.environ.setdefault("TVM_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    measurer = _Measurer()
    return {
        "open": measurer.open,
        "time": measurer.time,
        "compare": measurer.compare,
        "propose": measurer.propose,
        "libraries": measurer.libraries,
        "leave": measurer.leave,
    }
