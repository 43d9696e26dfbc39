"""The CUDA runtime through ``cuda.bindings`` (12 and 13), every call of it checked.

What is allocated here is freed by ``close``, which never raises: after an error that breaks the
CUDA context every call fails, and the first one is the one to report.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bmopt.backends.nvinfer.native import Native
from bmopt.errors import HostError

_ADVICE = {
    "cudaErrorMemoryAllocation": "run smaller batches, or free memory of the GPU",
    "cudaErrorNoDevice": "check CUDA_VISIBLE_DEVICES",
    "cudaErrorInsufficientDriver": "install or update the NVIDIA driver",
}
_LAST_RESORT = "run it again, and see nvidia-smi and the system log where it persists"
_LEAST_BYTES = 256
"""Tensors without elements have an address too."""


class Cuda:
    """The functions of ``cuda.bindings.runtime``.

    Attributes:
        api: The module, for its constants and for calls that may fail.
    """

    def __init__(self, api: Native) -> None:
        self.api = api

    def call(self, name: str, *arguments: object) -> Native:
        """Return what the function ``name`` gives; None, a value or a tuple.

        Raises:
            HostError: It failed; the message has CUDA's name of the error.
        """
        code, *values = getattr(self.api, name)(*arguments)
        if int(code):
            raise HostError(self._failure(name, code))
        return values[0] if len(values) == 1 else tuple(values) or None

    def quietly(self, name: str, *arguments: object) -> None:
        """Call the function ``name`` and ignore what it says."""
        getattr(self.api, name)(*arguments)

    def _failure(self, name: str, code: Native) -> str:
        error = str(getattr(code, "name", int(code)))
        _, text = self.api.cudaGetErrorString(code)
        said = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        return f"CUDA: {name} failed with {error} ({said}); {_ADVICE.get(error, _LAST_RESORT)}"


def load_cuda() -> Cuda:
    """Import the CUDA runtime.

    Raises:
        HostError: It is not installed.
    """
    try:
        return Cuda(importlib.import_module("cuda.bindings.runtime"))
    except ImportError as error:
        raise HostError(
            "cuda.bindings is not installed, and engines run through it; "
            "pip install cuda-bindings, of the driver's CUDA version (12 or 13)"
        ) from error


def open_cuda() -> Cuda:
    """Import the CUDA runtime where there is a GPU to use it on.

    Raises:
        HostError: There is none; the message says what is missing.
    """
    cuda = load_cuda()
    reason = _why_no_gpu(cuda)
    if reason:
        raise HostError(reason)
    return cuda


def why_no_gpu() -> str:
    """Return why no engine can run here, in one line; empty where one can."""
    try:
        open_cuda()
    except HostError as error:
        return str(error)
    return ""


def device_count() -> int:
    """Return how many GPUs CUDA can use here; 0 without ``cuda.bindings`` or a driver."""
    try:
        cuda = load_cuda()
    except HostError:
        return 0
    code, count = cuda.api.cudaGetDeviceCount()
    return 0 if int(code) else int(count)


def sm_of(device: int = 0, cuda: Cuda | None = None) -> str:
    """Return the compute capability of a GPU, for example ``"sm89"``.

    Raises:
        HostError: There is no such GPU.
    """
    cuda = cuda or open_cuda()
    names = cuda.api.cudaDeviceAttr
    major = cuda.call("cudaDeviceGetAttribute", names.cudaDevAttrComputeCapabilityMajor, device)
    minor = cuda.call("cudaDeviceGetAttribute", names.cudaDevAttrComputeCapabilityMinor, device)
    return f"sm{major}{minor}"


def current_sm(cuda: Cuda) -> str:
    """Return the compute capability of the GPU that this thread uses."""
    return sm_of(int(cuda.call("cudaGetDevice")), cuda)


def _why_no_gpu(cuda: Cuda) -> str:
    code, count = cuda.api.cudaGetDeviceCount()
    error = str(getattr(code, "name", int(code)))
    if not int(code):
        return "" if count else "no NVIDIA GPU is visible; check CUDA_VISIBLE_DEVICES"
    _, driver = cuda.api.cudaDriverGetVersion()
    if error == "cudaErrorInsufficientDriver" and driver:
        major, minor = driver // 1000, driver % 1000 // 10
        return (
            f"the NVIDIA driver is for CUDA {major}.{minor}, and cuda.bindings for a newer one; "
            f"update the driver, or pip install 'cuda-bindings=={major}.*'"
        )
    if error == "cudaErrorInsufficientDriver":
        return (
            "no NVIDIA driver is loaded; engines run on a host with an NVIDIA GPU and its driver"
        )
    return f"no NVIDIA GPU is usable ({error}); {_ADVICE.get(error, _LAST_RESORT)}"


class Stream:
    """A CUDA stream.

    Attributes:
        raw: CUDA's object.
        handle: Its address, as the engines' SDKs want it.
    """

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        # The legacy default stream would wait for this one, and this one for it.
        self.raw = cuda.call("cudaStreamCreateWithFlags", cuda.api.cudaStreamNonBlocking)
        self.handle = int(self.raw)

    def upload(self, device: int, host: int, nbytes: int) -> None:
        """Enqueue a copy from pinned memory to the device."""
        self._copy(device, host, nbytes, self.cuda.api.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def download(self, host: int, device: int, nbytes: int) -> None:
        """Enqueue a copy from the device to pinned memory."""
        self._copy(host, device, nbytes, self.cuda.api.cudaMemcpyKind.cudaMemcpyDeviceToHost)

    def synchronize(self) -> None:
        """Wait for everything enqueued."""
        self.cuda.call("cudaStreamSynchronize", self.raw)

    def settle(self) -> None:
        """Wait for everything enqueued, whatever has become of it."""
        self.cuda.quietly("cudaStreamSynchronize", self.raw)

    def close(self) -> None:
        """Destroy it."""
        self.cuda.quietly("cudaStreamDestroy", self.raw)

    def _copy(self, to: int, source: int, nbytes: int, kind: object) -> None:
        if nbytes:
            self.cuda.call("cudaMemcpyAsync", to, source, nbytes, kind, self.raw)


class Event:
    """A point in a stream whose time the device takes."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._raw = cuda.call("cudaEventCreate")

    def record(self, stream: Stream) -> None:
        """Put it at the end of ``stream``."""
        self._cuda.call("cudaEventRecord", self._raw, stream.raw)

    def ns_since(self, earlier: Event) -> int:
        """Return the nanoseconds between two events that have both passed."""
        milliseconds: float = self._cuda.call("cudaEventElapsedTime", earlier._raw, self._raw)
        return round(milliseconds * 1e6)

    def close(self) -> None:
        """Destroy it."""
        self._cuda.quietly("cudaEventDestroy", self._raw)


class _Buffer:
    """Memory that grows when more is asked for; what it held is lost then."""

    _allocate: ClassVar[str]
    _free: ClassVar[str]

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.address = 0
        self.capacity = 0

    def reserve(self, nbytes: int) -> int:
        """Make room for ``nbytes`` and return the address, which changes when it grows.

        Raises:
            HostError: There is not so much memory.
        """
        wanted = max(nbytes, _LEAST_BYTES)
        if wanted > self.capacity:
            self.close()
            self.address = int(self._cuda.call(self._allocate, wanted))
            self.capacity = wanted
        return self.address

    def close(self) -> None:
        """Free it."""
        if self.capacity:
            self._cuda.quietly(self._free, self.address)
        self.address = self.capacity = 0


class DeviceBuffer(_Buffer):
    """Memory of the GPU."""

    _allocate = "cudaMalloc"
    _free = "cudaFree"


class PinnedBuffer(_Buffer):
    """Memory of the host that the GPU can copy from and to without the CPU."""

    _allocate = "cudaMallocHost"
    _free = "cudaFreeHost"

    def view(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """Return its first bytes, valid until it grows."""
        assert nbytes <= self.capacity
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(self.address))


class CapturedGraph:
    """Work that was captured from a stream once and is launched as a whole."""

    def __init__(self, stream: Stream, executable: object) -> None:
        self._stream = stream
        self._executable = executable

    @classmethod
    def of(cls, stream: Stream, enqueue: Callable[[], bool]) -> CapturedGraph:
        """Capture what ``enqueue`` puts into ``stream``; false means that it could not.

        Raises:
            HostError: The work cannot be captured. The stream can be used as before.
        """
        cuda = stream.cuda
        mode = cuda.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        cuda.call("cudaStreamBeginCapture", stream.raw, mode)
        accepted = enqueue()
        code, graph = cuda.api.cudaStreamEndCapture(stream.raw)
        if int(code):
            cuda.quietly("cudaGetLastError")
            raise HostError(f"the capture failed with {getattr(code, 'name', int(code))}")
        try:
            if not accepted:
                raise HostError("the engine refused to be captured")
            return cls(stream, cuda.call("cudaGraphInstantiate", graph, 0))
        finally:
            cuda.quietly("cudaGraphDestroy", graph)

    def launch(self) -> None:
        """Enqueue the work."""
        self._stream.cuda.call("cudaGraphLaunch", self._executable, self._stream.raw)

    def close(self) -> None:
        """Destroy it."""
        self._stream.cuda.quietly("cudaGraphExecDestroy", self._executable)
