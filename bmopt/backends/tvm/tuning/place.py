"""Where kernels are measured: in this process, or on a board."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.boards import connect, dropping_off
from bmopt.backends.tvm.importing import Native
from bmopt.backends.tvm.names import MAIN
from bmopt.backends.tvm.tuning.timing import Timed
from bmopt.core.board import Board

_BEYOND_FIRST_CACHE = 512 << 10
_MOST_SETS = 16
_ANY_CORES = 1
"""TVM's number for a pool over any of the cores."""
_CONNECT_S = 20.0

Arrays = Sequence[np.ndarray[Any, Any]]


class Place(Protocol):
    """Where functions run."""

    def load(self, module: Native, target: Native) -> Native:
        """Compile a module of one function, and return it loaded."""

    def results(self, function: Native, arrays: Arrays) -> list[np.ndarray[Any, Any]]:
        """Return the arguments after a call."""

    def timed(self, function: Native, arrays: Arrays) -> Timed:
        """Return what times calls of a function."""

    def use_threads(self, threads: int) -> None:
        """Have functions run on so many threads."""


class HerePlace:
    """This process.

    Calls go round copies of the arguments, as many as do not fit the first cache together: in a
    model, too, a kernel's inputs come from further away.
    """

    def load(self, module: Native, target: Native) -> Native:
        """Compile into memory; no linker is needed."""
        return probe.load("tvm").compile(module, target)[MAIN]

    def results(self, function: Native, arrays: Arrays) -> list[np.ndarray[Any, Any]]:
        """Call once."""
        given = [probe.load("tvm").runtime.tensor(one) for one in arrays]
        function(*given)
        return [one.numpy() for one in given]

    def timed(self, function: Native, arrays: Arrays) -> Timed:
        """Time calls by this process's clock."""
        tensor = probe.load("tvm").runtime.tensor
        size = sum(one.nbytes for one in arrays)
        count = max(1, min(_MOST_SETS, math.ceil(_BEYOND_FIRST_CACHE / max(size, 1))))
        sets = [[tensor(one) for one in arrays] for _ in range(count)]

        def run(calls: int) -> float:
            order = [sets[i % count] for i in range(calls)]
            start = time.perf_counter_ns()
            for given in order:
                function(*given)
            return (time.perf_counter_ns() - start) / calls

        return run

    def use_threads(self, threads: int) -> None:
        """Set the size of this thread's pool."""
        probe.load("tvm").get_global_func("runtime.config_threadpool")(_ANY_CORES, threads)


class BoardPlace:
    """A board that TVM's server runs on; times are taken there, without the network."""

    def __init__(self, board: Board, compiler: str) -> None:
        """Connect.

        Raises:
            BoardError: It does not answer.
        """
        self._board = board
        self._session = connect(board, timeout_s=_CONNECT_S)
        with dropping_off(board):
            self._device = self._session.cpu()
        self._compiler = compiler
        self._loaded = 0

    def load(self, module: Native, target: Native) -> Native:
        """Compile, link and send a library."""
        self._loaded += 1
        name = f"bmopt-trial-{self._loaded}.so"
        linker = probe.load("tvm.support.cc").cross_compiler(self._compiler, options=["-s"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            probe.load("tvm").compile(module, target).export_library(str(path), fcompile=linker)
            with dropping_off(self._board):
                self._session.upload(str(path))
                return self._session.load_module(name)

    def results(self, function: Native, arrays: Arrays) -> list[np.ndarray[Any, Any]]:
        """Send the arguments, call once, and fetch them."""
        with dropping_off(self._board):
            given = self._sent(arrays)
            function[MAIN](*given)
            return [one.numpy() for one in given]

    def timed(self, function: Native, arrays: Arrays) -> Timed:
        """Time calls by the board's clock."""
        with dropping_off(self._board):
            given = self._sent(arrays)

        def run(calls: int) -> float:
            with dropping_off(self._board):
                evaluator = function.time_evaluator(MAIN, self._device, number=calls, repeat=1)
                return float(evaluator(*given).results[0]) * 1e9

        return run

    def use_threads(self, threads: int) -> None:
        """Set the size of the server's pool."""
        with dropping_off(self._board):
            self._session.get_function("runtime.config_threadpool")(_ANY_CORES, threads)

    def _sent(self, arrays: Arrays) -> list[Native]:
        tensor = probe.load("tvm").runtime.tensor
        return [tensor(one, device=self._device) for one in arrays]


def place_of(board: str, compiler: str) -> Place:
    """Return the place that ``board`` names, which is here where it is empty.

    Raises:
        BoardError: The board does not answer.
    """
    return BoardPlace(Board.from_text(board), compiler) if board else HerePlace()
