"""Compiled libraries as runners, on the virtual machine of relax in this process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.importing import Native, line_of
from bmopt.backends.tvm.library_file import architecture_of
from bmopt.backends.tvm.memory import InputMemory, fetched
from bmopt.backends.tvm.names import FUNCTION, MAIN, Port, Signature
from bmopt.core.host import host_facts
from bmopt.core.runner import Feeds
from bmopt.errors import ArtifactError, DataError, HostError

_THREADS = "TVM_NUM_THREADS"
_BIND = "TVM_BIND_THREADS"
ALL_CORES = 1
"""TVM's number for a pool over any of the cores."""

_GO_ON = 0
"""What the virtual machine is told to do with the call that it tells of."""

_pools = threading.local()
"""How many threads the pool has that TVM keeps for this thread of ours."""


class TvmRunner:
    """A loaded library behind the ``Runner`` protocol.

    Its buffers are reused from run to run, so one thread may run it at a time.
    """

    def __init__(self, machine: Native, signature: Signature, threads: int) -> None:
        self._machine = machine
        self._main = machine[MAIN]
        self._signature = signature
        self._threads = threads
        self._inputs = InputMemory(len(signature.inputs))
        self._names = tuple(port.name for port in signature.outputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""
        return self._names

    @property
    def signature(self) -> Signature:
        """What the library says of itself."""
        return self._signature

    def run(self, feeds: Feeds) -> dict[str, Any]:
        """Run one inference; raise ``DataError`` where the feeds do not fit the model."""
        arrays = ordered_arrays(self._signature.inputs, feeds)
        _use_threads(self._threads)
        try:
            values = self._main(*self._inputs.filled(arrays))
        except (RuntimeError, ValueError, TypeError) as error:
            raise DataError(f"TVM cannot run these inputs ({line_of(error)})") from error
        return dict(zip(self._names, map(fetched, values), strict=True))

    def watch(self, told: Callable[[str, bool], None]) -> None:
        """Have ``told`` called before and after every function with its name, and whether before.

        An error of its own would end the process, so it must have none.
        """

        def instrument(function: Native, name: str, before: bool, *_: Native) -> int:
            del function
            told(name, bool(before))
            return _GO_ON

        self._machine.set_instrument(instrument)

    def __enter__(self) -> TvmRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._main = self._machine = None


def ordered_arrays(ports: tuple[Port, ...], feeds: Feeds) -> list[np.ndarray[Any, Any]]:
    """Return the arrays in the order of the inputs, checked.

    Raises:
        DataError: One is missing or too many, or of another element type, rank or size.
    """
    known = [port.name for port in ports]
    for name in feeds:
        if name not in known:
            raise DataError(f"there is no input {name!r}; the model has {', '.join(known)}")
    sizes: dict[str, int] = {}
    return [_checked(port, feeds, sizes) for port in ports]


def _checked(port: Port, feeds: Feeds, sizes: dict[str, int]) -> np.ndarray[Any, Any]:
    if port.name not in feeds:
        raise DataError(f"input {port.name!r} is missing")
    array = np.ascontiguousarray(feeds[port.name])
    if array.ndim == 1 and np.ndim(feeds[port.name]) == 0:
        array = array.reshape(())
    if port.dtype and array.dtype.name != port.dtype:
        raise DataError(f"input {port.name!r} is {array.dtype.name}, the model takes {port.dtype}")
    if port.shape is not None and not _fits(port.shape, array.shape, sizes):
        wanted = "x".join(map(str, port.shape)) or "a scalar"
        given = "x".join(map(str, array.shape)) or "a scalar"
        raise DataError(f"input {port.name!r} is {given}, the model takes {wanted}")
    return array


def _fits(wanted: tuple[int | str, ...], given: tuple[int, ...], sizes: dict[str, int]) -> bool:
    if len(wanted) != len(given):
        return False
    return all(
        (size == axis if isinstance(axis, int) else sizes.setdefault(axis, size) == size)
        and size > 0
        for axis, size in zip(wanted, given, strict=True)
    )


def _use_threads(threads: int) -> None:
    """Have TVM compute on so many threads when called from this one; 0 for all cores."""
    wanted = threads or _cores()
    if getattr(_pools, "size", None) != wanted:
        probe.load("tvm").get_global_func("runtime.config_threadpool")(ALL_CORES, wanted)
        _pools.size = wanted


def _cores() -> int:
    host = host_facts(query_gpus=str)
    return host.affinity or host.logical_cores or 1


def open_library(path: Path, *, threads: int = 0) -> TvmRunner:
    """Open a compiled library.

    Args:
        path: The file.
        threads: Threads of a run; 0 for all cores.

    Raises:
        ArtifactError: It is damaged, or no library that bmopt compiled.
        HostError: TVM is not installed, or the library is for another processor.
    """
    # A pool never grows, takes every second core on x86 unless told, and pins its threads to
    # cores that others may be pinned to as well.
    os.environ.setdefault(_THREADS, str(_cores()))
    os.environ.setdefault(_BIND, "0")
    runtime, relax = probe.load("tvm.runtime"), probe.load("tvm.relax")
    _require_own(path)
    try:
        with _silence():
            library = runtime.load_module(str(path))
            machine = relax.VirtualMachine(library, runtime.cpu())
        signature = Signature.from_json(str(machine[FUNCTION]()))
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise ArtifactError(
            f"{path}: TVM cannot load it ({line_of(error)}); compile again"
        ) from error
    _require_fit(path, signature)
    return TvmRunner(machine, signature, threads)


def _require_own(path: Path) -> None:
    made_for, own = architecture_of(path), host_facts(query_gpus=str).architecture
    if made_for != own:
        raise HostError(f"{path}: is for {made_for}, this host is {own}; compile it for this host")


def _require_fit(path: Path, signature: Signature) -> None:
    host = host_facts(query_gpus=str)
    if lacking := [flag for flag in signature.flags if flag not in host.flags]:
        raise HostError(
            f"{path}: was compiled for a processor with {', '.join(lacking)}, which this one has "
            "not; compile it for this host"
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what TVM's virtual machine prints of its own internals off standard error."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
