"""``cuda.bindings.runtime`` without a GPU: memory is the host's, work is done when enqueued.

It writes down every call, and refuses what CUDA refuses: memory that was freed or never
allocated, copies beyond its end, a stream that captures and is waited for.
"""

# ruff: noqa: N801, N802, N815 - the names are CUDA's
from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

ALIGNMENT = 256


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900


OK = cudaError_t.cudaSuccess


class _Handle:
    """A stream, event or graph: an object of CUDA's with an address."""

    def __init__(self, address: int) -> None:
        self._address = address

    def __int__(self) -> int:
        return self._address


class FakeCuda:
    """The module. ``fails`` maps a function to the error that it is to give."""

    cudaStreamNonBlocking = 1
    cudaDeviceAttr = SimpleNamespace(
        cudaDevAttrComputeCapabilityMajor=75, cudaDevAttrComputeCapabilityMinor=76
    )
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, fails: dict[str, cudaError_t] | None = None, devices: int = 1) -> None:
        self.fails = dict(fails or {})
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.devices = devices
        self.driver = 13000
        self.memory: dict[int, tuple[str, int, Any]] = {}
        self.captured: list[Callable[[], None]] | None = None
        self.alive: dict[int, str] = {}
        self._next = 0x1000

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        work = getattr(type(self), f"_{name}")

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, arguments))
            if name in self.fails:
                if name == "cudaStreamEndCapture":
                    self.captured = None
                return (self.fails[name], None)
            return work(self, *arguments)

        return call

    def enqueue(self, work: Callable[[], None]) -> None:
        """Do ``work``, or keep it where a capture is on."""
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def holds(self, address: int, nbytes: int, kind: str) -> bool:
        """Whether ``address`` is memory of that kind with room for ``nbytes``."""
        got_kind, size, _ = self.memory.get(address, ("", -1, None))
        return got_kind == kind and size >= nbytes

    def _new(self, kind: str) -> _Handle:
        self._next += ALIGNMENT
        self.alive[self._next] = kind
        return _Handle(self._next)

    def _drop(self, handle: _Handle, kind: str) -> tuple[cudaError_t]:
        assert self.alive.pop(int(handle)) == kind
        return (OK,)

    def _allocate(self, kind: str, nbytes: int) -> tuple[cudaError_t, int]:
        assert nbytes > 0, "an address of nothing is null"
        block = ctypes.create_string_buffer(nbytes + ALIGNMENT)
        address = -(-ctypes.addressof(block) // ALIGNMENT) * ALIGNMENT
        self.memory[address] = (kind, nbytes, block)
        return OK, address

    def _cudaGetErrorString(self, code: cudaError_t) -> tuple[cudaError_t, bytes]:
        return OK, b"what CUDA says"

    def _cudaGetLastError(self) -> tuple[cudaError_t]:
        return (OK,)

    def _cudaGetDeviceCount(self) -> tuple[cudaError_t, int]:
        return OK, self.devices

    def _cudaGetDevice(self) -> tuple[cudaError_t, int]:
        return OK, 0

    def _cudaDriverGetVersion(self) -> tuple[cudaError_t, int]:
        return OK, self.driver

    def _cudaDeviceGetAttribute(self, name: int, device: int) -> tuple[cudaError_t, int]:
        return OK, {75: 8, 76: 9}[name]

    def _cudaMalloc(self, nbytes: int) -> tuple[cudaError_t, int]:
        return self._allocate("device", nbytes)

    def _cudaMallocHost(self, nbytes: int) -> tuple[cudaError_t, int]:
        return self._allocate("host", nbytes)

    def _cudaFree(self, address: int) -> tuple[cudaError_t]:
        assert self.memory.pop(address)[0] == "device"
        return (OK,)

    def _cudaFreeHost(self, address: int) -> tuple[cudaError_t]:
        assert self.memory.pop(address)[0] == "host"
        return (OK,)

    def _cudaMemcpyAsync(
        self, to: int, source: int, nbytes: int, kind: int, stream: _Handle
    ) -> tuple[cudaError_t]:
        assert self.alive[int(stream)] == "stream"
        ends = ("device", "host") if kind == 1 else ("host", "device")
        if not (self.holds(to, nbytes, ends[0]) and self.holds(source, nbytes, ends[1])):
            return (cudaError_t.cudaErrorIllegalAddress,)
        self.enqueue(lambda: ctypes.memmove(to, source, nbytes) and None)
        return (OK,)

    def _cudaStreamCreateWithFlags(self, flags: int) -> tuple[cudaError_t, _Handle]:
        return OK, self._new("stream")

    def _cudaStreamSynchronize(self, stream: _Handle) -> tuple[cudaError_t]:
        assert self.captured is None, "a stream that captures cannot be waited for"
        return (OK,)

    def _cudaStreamDestroy(self, stream: _Handle) -> tuple[cudaError_t]:
        return self._drop(stream, "stream")

    def _cudaEventCreate(self) -> tuple[cudaError_t, _Handle]:
        return OK, self._new("event")

    def _cudaEventRecord(self, event: _Handle, stream: _Handle) -> tuple[cudaError_t]:
        assert self.captured is None
        return (OK,)

    def _cudaEventElapsedTime(self, start: _Handle, stop: _Handle) -> tuple[cudaError_t, float]:
        return OK, 0.25

    def _cudaEventDestroy(self, event: _Handle) -> tuple[cudaError_t]:
        return self._drop(event, "event")

    def _cudaStreamBeginCapture(self, stream: _Handle, mode: int) -> tuple[cudaError_t]:
        assert self.captured is None
        self.captured = []
        return (OK,)

    def _cudaStreamEndCapture(self, stream: _Handle) -> tuple[cudaError_t, Any]:
        work, self.captured = self.captured, None
        graph = self._new("graph")
        graph.work = work
        return OK, graph

    def _cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[cudaError_t, Any]:
        assert flags == 0
        executable = self._new("executable")
        executable.work = graph.work
        return OK, executable

    def _cudaGraphDestroy(self, graph: _Handle) -> tuple[cudaError_t]:
        return self._drop(graph, "graph")

    def _cudaGraphLaunch(self, executable: Any, stream: _Handle) -> tuple[cudaError_t]:
        for work in executable.work:
            work()
        return (OK,)

    def _cudaGraphExecDestroy(self, executable: _Handle) -> tuple[cudaError_t]:
        return self._drop(executable, "executable")
