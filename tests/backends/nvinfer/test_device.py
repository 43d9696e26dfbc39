from __future__ import annotations

import numpy as np
import pytest

from bmopt.backends.nvinfer import device
from bmopt.backends.nvinfer.device import (
    CapturedGraph,
    Cuda,
    DeviceBuffer,
    Event,
    PinnedBuffer,
    Stream,
)
from bmopt.errors import HostError
from tests.backends.nvinfer.fake_cuda import FakeCuda, cudaError_t


def test_a_failed_call_names_the_function_cuda_s_error_and_what_to_do() -> None:
    cuda = Cuda(FakeCuda({"cudaMalloc": cudaError_t.cudaErrorMemoryAllocation}))
    with pytest.raises(HostError, match=r"cudaMalloc failed with cudaErrorMemoryAllocation .*;"):
        DeviceBuffer(cuda).reserve(1 << 20)


def test_results_have_the_shape_that_the_function_gives() -> None:
    cuda = Cuda(FakeCuda())
    assert cuda.call("cudaGetLastError") is None
    assert cuda.call("cudaGetDeviceCount") == 1


@pytest.mark.parametrize(
    ("error", "driver", "says"),
    [
        (cudaError_t.cudaErrorInsufficientDriver, 0, "no NVIDIA driver is loaded"),
        (cudaError_t.cudaErrorInsufficientDriver, 12040, r"CUDA 12\.4.*cuda-bindings==12"),
        (cudaError_t.cudaErrorNoDevice, 13000, "cudaErrorNoDevice.*CUDA_VISIBLE_DEVICES"),
    ],
)
def test_says_why_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, error: cudaError_t, driver: int, says: str
) -> None:
    fake = FakeCuda({"cudaGetDeviceCount": error})
    fake.driver = driver
    monkeypatch.setattr(device, "load_cuda", lambda: Cuda(fake))
    with pytest.raises(HostError, match=says):
        device.open_cuda()
    assert device.why_no_gpu()
    assert device.device_count() == 0


def test_no_visible_gpu_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "load_cuda", lambda: Cuda(FakeCuda(devices=0)))
    assert "CUDA_VISIBLE_DEVICES" in device.why_no_gpu()


def test_without_cuda_bindings_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(device.importlib, "import_module", missing)
    assert "pip install cuda-bindings" in device.why_no_gpu()
    assert device.device_count() == 0


def test_a_gpu_has_a_compute_capability() -> None:
    cuda = Cuda(FakeCuda())
    assert device.sm_of(0, cuda) == "sm89"
    assert device.current_sm(cuda) == "sm89"


def test_the_installed_bindings_have_everything_that_is_called() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    named = [name for name in dir(FakeCuda) if name.startswith("_cuda")]
    assert len(named) > 15
    assert [name[1:] for name in named if not hasattr(runtime, name[1:])] == []
    assert runtime.cudaMemcpyKind.cudaMemcpyHostToDevice == 1
    assert runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost == 2
    assert runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal == 1
    assert runtime.cudaDeviceAttr.cudaDevAttrComputeCapabilityMajor == 75
    assert runtime.cudaStreamNonBlocking == 1


def test_the_installed_bindings_answer_on_this_host() -> None:
    pytest.importorskip("cuda.bindings.runtime")
    assert bool(device.device_count()) == (device.why_no_gpu() == "")


def test_a_buffer_grows_only_when_it_has_to() -> None:
    fake = FakeCuda()
    buffer = DeviceBuffer(Cuda(fake))
    first = buffer.reserve(1000)
    assert buffer.reserve(10) == first
    assert buffer.reserve(1000) == first
    buffer.reserve(1001)
    assert fake.names == ["cudaMalloc", "cudaFree", "cudaMalloc"]
    buffer.close()
    buffer.close()
    assert fake.memory == {}


def test_nothing_has_an_address_too() -> None:
    buffer = PinnedBuffer(Cuda(FakeCuda()))
    assert buffer.reserve(0) != 0
    assert buffer.view(0).shape == (0,)


def test_a_buffer_that_failed_to_grow_can_be_closed() -> None:
    fake = FakeCuda()
    buffer = DeviceBuffer(Cuda(fake))
    buffer.reserve(10)
    fake.fails["cudaMalloc"] = cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(HostError):
        buffer.reserve(10_000)
    buffer.close()
    assert fake.memory == {}


def test_pinned_memory_travels_to_the_device_and_back() -> None:
    fake = FakeCuda()
    cuda = Cuda(fake)
    stream, host, there = Stream(cuda), PinnedBuffer(cuda), DeviceBuffer(cuda)
    host.reserve(300)
    there.reserve(300)
    host.view(300)[...] = np.arange(300, dtype=np.uint8)
    stream.upload(there.address, host.address, 300)
    host.view(300)[...] = 0
    stream.download(host.address, there.address, 300)
    stream.synchronize()
    assert host.view(300).tolist() == np.arange(300, dtype=np.uint8).tolist()


def test_a_copy_of_nothing_is_not_made() -> None:
    fake = FakeCuda()
    Stream(Cuda(fake)).upload(1, 2, 0)
    assert "cudaMemcpyAsync" not in fake.names


def test_events_give_nanoseconds() -> None:
    fake = FakeCuda()
    cuda = Cuda(fake)
    stream, start, stop = Stream(cuda), Event(cuda), Event(cuda)
    start.record(stream)
    stop.record(stream)
    assert stop.ns_since(start) == 250_000
    for resource in (start, stop, stream):
        resource.close()
    assert fake.alive == {}


def test_a_captured_graph_repeats_the_work() -> None:
    fake = FakeCuda()
    stream = Stream(Cuda(fake))
    done: list[int] = []

    def enqueue() -> bool:
        fake.enqueue(lambda: done.append(1))
        return True

    graph = CapturedGraph.of(stream, enqueue)
    assert done == []
    graph.launch()
    graph.launch()
    assert done == [1, 1]
    graph.close()
    stream.close()
    assert fake.alive == {}


@pytest.mark.parametrize(
    ("fails", "accepted"),
    [
        ("cudaStreamEndCapture", True),
        ("cudaStreamEndCapture", False),
        ("cudaGraphInstantiate", True),
        ("", False),
    ],
)
def test_a_failed_capture_leaves_nothing_behind(fails: str, accepted: bool) -> None:
    fake = FakeCuda({fails: cudaError_t.cudaErrorStreamCaptureUnsupported} if fails else {})
    stream = Stream(Cuda(fake))
    with pytest.raises(HostError):
        CapturedGraph.of(stream, lambda: accepted)
    stream.synchronize()
    assert list(fake.alive.values()) == ["stream"]


def test_what_cannot_be_freed_does_not_hide_the_first_error() -> None:
    fake = FakeCuda()
    cuda = Cuda(fake)
    stream, buffer = Stream(cuda), DeviceBuffer(cuda)
    buffer.reserve(1)
    fake.fails.update(cudaFree=cudaError_t.cudaErrorIllegalAddress)
    fake.fails.update(cudaStreamDestroy=cudaError_t.cudaErrorIllegalAddress)
    buffer.close()
    stream.close()
    assert fake.names[-2:] == ["cudaFree", "cudaStreamDestroy"]
