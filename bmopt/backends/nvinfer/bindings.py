"""The memory behind an engine's inputs and outputs, and what its context is told of it."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping

from bmopt.backends.nvinfer.device import Cuda, DeviceBuffer, PinnedBuffer, Stream
from bmopt.backends.nvinfer.io_tensors import IoTensor, Shape, Signature, read_dims
from bmopt.backends.nvinfer.loading import LoadedEngine
from bmopt.backends.nvinfer.native import Native
from bmopt.core.runner import Array
from bmopt.errors import DataError, HostError


class _Memory:
    """Pinned memory of one tensor, and the device's where the engine wants it there.

    Attributes:
        shape: Its shape in the last run.
    """

    def __init__(self, cuda: Cuda, tensor: IoTensor) -> None:
        self.tensor = tensor
        self.shape: Shape = ()
        self._host = PinnedBuffer(cuda)
        self._device = None if tensor.on_host else DeviceBuffer(cuda)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.tensor.dtype.itemsize

    def reserve(self, shape: Shape) -> int:
        """Make room and return the address that the engine is to use."""
        self.shape = shape
        host = self._host.reserve(self.nbytes)
        return host if self._device is None else self._device.reserve(self.nbytes)

    def write(self, array: Array) -> None:
        self._host.view(self.nbytes)[...] = array.reshape(-1).view("u1")

    def read(self) -> Array:
        values = self._host.view(self.nbytes).copy()
        return values.view(self.tensor.dtype).reshape(self.shape)

    def upload(self, stream: Stream) -> None:
        if self._device is not None:
            stream.upload(self._device.address, self._host.address, self.nbytes)

    def download(self, stream: Stream) -> None:
        # The shape may only be known since the run.
        self._host.reserve(self.nbytes)
        if self._device is not None:
            stream.download(self._host.address, self._device.address, self.nbytes)

    def allocate(self, nbytes: int) -> int:
        """Return memory for a result whose shape is not known yet."""
        assert self._device is not None
        return self._device.reserve(nbytes)

    def close(self) -> None:
        self._host.close()
        if self._device is not None:
            self._device.close()


class _LateOutput:
    """An output whose shape depends on the data, so that the engine asks for its memory.

    Attributes:
        failure: Why it got none; the SDK must not see our exceptions.
        allocator: The SDK's ``IOutputAllocator``.
    """

    def __init__(self, sdk: Native, memory: _Memory) -> None:
        self.failure: HostError | None = None

        def start(allocator: Native) -> None:
            sdk.IOutputAllocator.__init__(allocator)

        def allocate(_: Native, name: str, current: int, size: int, *rest: int) -> int:
            try:
                return memory.allocate(size)
            except HostError as error:
                self.failure = error
                return 0

        def notify(_: Native, name: str, shape: Native) -> None:
            memory.shape = read_dims(shape)

        members = {
            "__init__": start,
            "reallocate_output": allocate,
            "reallocate_output_async": allocate,
            "notify_shape": notify,
        }
        kind = types.new_class(
            "Allocator", (sdk.IOutputAllocator,), {}, lambda body: body.update(members)
        )
        self.allocator = kind()


class Bindings:
    """All inputs and outputs of one execution context."""

    def __init__(
        self, loaded: LoadedEngine, signature: Signature, cuda: Cuda, stream: Stream
    ) -> None:
        self._loaded = loaded
        self._stream = stream
        self._inputs = [_Memory(cuda, tensor) for tensor in signature.inputs]
        self._outputs = [_Memory(cuda, tensor) for tensor in signature.outputs]
        self._late: dict[str, _LateOutput] = {}
        self._profile = 0
        self._bound: object = None

    @property
    def late(self) -> bool:
        """Whether the shape of an output depends on the data."""
        return bool(self._late)

    def bind(self, arrays: Mapping[str, Array], profile: int) -> bool:
        """Stage the inputs in pinned memory and tell the context all shapes and addresses.

        Returns whether anything is different from the last time: what was captured is of no use
        then.

        Raises:
            DataError: The engine refuses the shapes, or they do not go together.
            HostError: Memory is missing.
        """
        addresses = [self._stage(memory, arrays[memory.tensor.name]) for memory in self._inputs]
        values = [arrays[m.tensor.name].tobytes() for m in self._inputs if m.tensor.on_host]
        wanted = (profile, [memory.shape for memory in self._inputs], addresses, values)
        if wanted == self._bound:
            return False
        self._bound = None
        self._loaded.log.clear()
        self._select(profile)
        for memory, address in zip(self._inputs, addresses, strict=True):
            self._tell(memory, address)
        self._bind_outputs()
        self._bound = wanted
        return True

    def _stage(self, memory: _Memory, array: Array) -> int:
        address = memory.reserve(array.shape)
        memory.write(array)
        return address

    def _select(self, profile: int) -> None:
        if profile != self._profile:
            context, handle = self._loaded.context, self._stream.handle
            try:
                accepted = context.set_optimization_profile_async(profile, handle)
            except RuntimeError:
                # What the bindings make of a refusal.
                accepted = False
            self._require(accepted, f"optimisation profile {profile}")
            self._stream.synchronize()
            self._profile = profile

    def _tell(self, memory: _Memory, address: int) -> None:
        name, context = memory.tensor.name, self._loaded.context
        if memory.tensor.dynamic and not context.set_input_shape(name, memory.shape):
            raise DataError(f"the engine refuses shape {memory.shape} of {name!r}{self._said()}")
        self._require(context.set_tensor_address(name, address), f"the memory of {name!r}")

    def _bind_outputs(self) -> None:
        for memory in self._outputs:
            if memory.tensor.on_host:
                # Computed while shapes are inferred, so its memory has to be there before.
                self._place(memory, memory.tensor.shape)
        self._infer()
        for memory in self._outputs:
            shape = self._inferred(memory.tensor.name)
            if -1 in shape:
                self._defer(memory)
            elif not memory.tensor.on_host:
                self._place(memory, shape)

    def _infer(self) -> None:
        if not self._loaded.tells_shape_errors:
            return
        try:
            unknown = self._loaded.context.infer_shapes()
        except RuntimeError as error:
            # The bindings raise it for every failure of this call.
            raise self._mismatch() from error
        self._require(not unknown, f"the inputs {', '.join(unknown)} as incomplete")

    def _inferred(self, name: str) -> Shape:
        try:
            return read_dims(self._loaded.context.get_tensor_shape(name))
        except ValueError as error:
            raise self._mismatch() from error

    def _mismatch(self) -> DataError:
        return DataError(f"the inputs' shapes do not go together{self._said()}")

    def _place(self, memory: _Memory, shape: Shape) -> None:
        name = memory.tensor.name
        address = memory.reserve(shape)
        self._require(
            self._loaded.context.set_tensor_address(name, address), f"the memory of {name!r}"
        )

    def _defer(self, memory: _Memory) -> None:
        name = memory.tensor.name
        if name not in self._late:
            late = _LateOutput(self._loaded.sdk, memory)
            self._require(
                self._loaded.context.set_output_allocator(name, late.allocator),
                f"an allocator for {name!r}",
            )
            self._late[name] = late

    def upload(self) -> None:
        """Enqueue the copies of the inputs to the device."""
        for memory in self._inputs:
            memory.upload(self._stream)

    def enqueue(self) -> None:
        """Enqueue the engine itself.

        Raises:
            HostError: It cannot be enqueued.
        """
        self._loaded.log.clear()
        done = self._loaded.context.execute_async_v3(self._stream.handle)
        for late in self._late.values():
            if late.failure is not None:
                failure, late.failure = late.failure, None
                raise failure
        self._require(done, "to run")

    def download(self) -> dict[str, Array]:
        """Wait for the run and return fresh arrays of the outputs."""
        for memory in self._outputs:
            memory.download(self._stream)
        self._stream.synchronize()
        return {memory.tensor.name: memory.read() for memory in self._outputs}

    def close(self) -> None:
        """Free the memory."""
        for memory in (*self._inputs, *self._outputs):
            memory.close()
        self._late.clear()
        self._bound = None

    def _require(self, accepted: object, what: str) -> None:
        if not accepted:
            raise self._refused(what)

    def _said(self) -> str:
        return self._loaded.log.because()

    def _refused(self, what: str) -> HostError:
        return HostError(
            f"{self._loaded.path}: the engine refuses {what}{self._said()}; "
            "build it again for these shapes on this device"
        )
