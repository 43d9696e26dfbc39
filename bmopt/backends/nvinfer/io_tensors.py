"""An engine's inputs and outputs, and whether feeds fit them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from bmopt.backends.nvinfer.native import Native
from bmopt.core.engine import Profile
from bmopt.core.runner import Array, Feeds
from bmopt.errors import ArtifactError, DataError

Shape = tuple[int, ...]

DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "HALF": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP8": np.dtype(ml_dtypes.float8_e4m3fn),
    "E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "BOOL": np.dtype(np.bool_),
}
"""The SDK's name of an element type -> NumPy's; those of 4 bits are not among them."""


@dataclasses.dataclass(frozen=True)
class IoTensor:
    """An input or output.

    Attributes:
        name: Its name in the model.
        dtype: Its element type.
        shape: Its shape, -1 for a dynamic axis.
        on_host: The engine reads or writes it in host memory: it is a shape.
        profiles: The shapes of an input with dynamic axes that each profile allows.
        values: The values of an input in host memory that each profile allows; may be empty.
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape
    on_host: bool
    profiles: tuple[Profile, ...] = ()
    values: tuple[Profile, ...] = ()

    @property
    def dynamic(self) -> bool:
        """Whether an axis is dynamic."""
        return -1 in self.shape


@dataclasses.dataclass(frozen=True)
class Signature:
    """All inputs and outputs, in the model's order."""

    inputs: tuple[IoTensor, ...]
    outputs: tuple[IoTensor, ...]


def read_signature(sdk: Native, engine: Native) -> Signature:
    """Return the inputs and outputs of a deserialised engine.

    Raises:
        ArtifactError: One has an element type that NumPy cannot hold.
    """
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    is_input = {name: engine.get_tensor_mode(name) == sdk.TensorIOMode.INPUT for name in names}
    return Signature(
        inputs=tuple(_tensor(sdk, engine, name, True) for name in names if is_input[name]),
        outputs=tuple(_tensor(sdk, engine, name, False) for name in names if not is_input[name]),
    )


def _tensor(sdk: Native, engine: Native, name: str, is_input: bool) -> IoTensor:
    element = engine.get_tensor_dtype(name).name
    if element not in DTYPES:
        raise ArtifactError(
            f"{name!r} has elements of type {element}, which cannot be fed; "
            "cast it to a wider type inside the model and build again"
        )
    shape = read_dims(engine.get_tensor_shape(name))
    on_host = engine.get_tensor_location(name) == sdk.TensorLocation.HOST
    indices = range(engine.num_optimization_profiles)
    shapes = [
        engine.get_tensor_profile_shape(name, i) for i in indices if is_input and -1 in shape
    ]
    # The bindings' own names for these two arguments are swapped: the index comes first.
    values = [engine.get_tensor_profile_values(i, name) for i in indices if is_input and on_host]
    return IoTensor(
        name,
        DTYPES[element],
        shape,
        on_host,
        profiles=tuple(Profile(*map(read_dims, triple)) for triple in shapes),
        # Profiles made without values for it have empty lists here.
        values=tuple(Profile(*map(read_dims, t)) for t in values) if all(values) else (),
    )


def read_dims(dims: Native) -> Shape:
    """Return an SDK's ``Dims`` as a tuple.

    Raises:
        ValueError: The number of axes is unknown, which iteration would take for a scalar.
    """
    return tuple(int(dims[axis]) for axis in range(len(dims)))


def check_feeds(signature: Signature, feeds: Feeds) -> dict[str, Array]:
    """Return the feeds as contiguous arrays, in the engine's order.

    Raises:
        DataError: An input is missing, unknown, or of another element type or rank.
    """
    known = [tensor.name for tensor in signature.inputs]
    unknown = sorted(set(feeds) - set(known))
    if unknown:
        raise DataError(f"the engine has no input {unknown[0]!r}; it takes {', '.join(known)}")
    missing = [name for name in known if name not in feeds]
    if missing:
        raise DataError(f"input {missing[0]!r} is missing; the engine takes {', '.join(known)}")
    return {tensor.name: _checked(tensor, feeds[tensor.name]) for tensor in signature.inputs}


def _checked(tensor: IoTensor, value: Array) -> Array:
    array = np.asarray(value)
    if array.dtype != tensor.dtype:
        raise DataError(
            f"input {tensor.name!r} is {array.dtype}, and the engine takes {tensor.dtype}; cast it"
        )
    fits = len(array.shape) == len(tensor.shape) and all(
        axis in (-1, given) for axis, given in zip(tensor.shape, array.shape, strict=True)
    )
    if not fits:
        raise DataError(
            f"input {tensor.name!r} has shape {_text(array.shape)}, and the engine takes "
            f"{_text(tensor.shape)}; feed that shape"
        )
    # Unlike ascontiguousarray this keeps arrays without axes as they are.
    return np.asarray(array, order="C")


def choose_profile(signature: Signature, arrays: Mapping[str, Array]) -> int:
    """Return the profile that allows the arrays: with exactly their shapes as usual, or tightest.

    Raises:
        DataError: None does; the message has the shapes that the engine allows.
    """
    count = max((len(t.profiles or t.values) for t in signature.inputs), default=0)
    fitting = [index for index in range(count) if _misfit(signature, arrays, index) is None]
    if fitting:
        return min(fitting, key=lambda index: _looseness(signature, arrays, index))
    misfit = _misfit(signature, arrays, 0) if count else None
    if misfit is None:
        return 0
    raise DataError(_outside(misfit, arrays[misfit.name]))


def _misfit(signature: Signature, arrays: Mapping[str, Array], index: int) -> IoTensor | None:
    for tensor in signature.inputs:
        array = arrays[tensor.name]
        if tensor.profiles and not _within(array.shape, tensor.profiles[index]):
            return tensor
        if tensor.values and not _within(_values(array), tensor.values[index]):
            return tensor
    return None


def _looseness(
    signature: Signature, arrays: Mapping[str, Array], index: int
) -> tuple[bool, int, int]:
    dynamic = [tensor for tensor in signature.inputs if tensor.profiles]
    unusual = any(tensor.profiles[index].opt != arrays[tensor.name].shape for tensor in dynamic)
    return unusual, sum(math.prod(tensor.profiles[index].max) for tensor in dynamic), index


def _within(given: Shape, profile: Profile) -> bool:
    return all(
        low <= value <= high
        for low, value, high in zip(profile.min, given, profile.max, strict=True)
    )


def _values(array: Array) -> Shape:
    return tuple(int(value) for value in array.reshape(-1))


def _outside(tensor: IoTensor, array: Array) -> str:
    if tensor.profiles and not any(_within(array.shape, p) for p in tensor.profiles):
        what, given, allowed = "shape", array.shape, tensor.profiles
    elif tensor.values and not any(_within(_values(array), p) for p in tensor.values):
        what, given, allowed = "values", _values(array), tensor.values
    else:
        what, given, allowed = "shape", array.shape, tensor.profiles or tensor.values
    spans = " or ".join(f"{_text(span.min)} to {_text(span.max)}" for span in allowed)
    return (
        f"input {tensor.name!r} has {what} {_text(given)}, and the engine was built for {spans}; "
        f"feed one in that range, or build again with --shapes {tensor.name}:MIN:OPT:MAX"
    )


def _text(shape: Shape) -> str:
    return "x".join("?" if dim == -1 else str(dim) for dim in shape) or "scalar"
