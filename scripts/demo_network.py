"""The layers of the demo network in NumPy: forward, backward, and as ONNX nodes.

Arrays are float32 ``[n, h, w, c]``. A layer keeps what its backward pass needs between ``forward``
and ``backward``; ``backward`` takes and returns gradients of the loss.
"""

# ruff: noqa: D102 - the Layer protocol documents the methods of all layers

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.tape import Tape

F32 = npt.NDArray[np.float32]

BN_EPSILON = 1e-5


class Parameter:
    """A trained array, its gradient and Adam's two moments."""

    def __init__(self, value: npt.NDArray[np.floating]) -> None:
        self.value: F32 = value.astype(np.float32)
        self.grad: F32 = np.zeros_like(self.value)
        self.first: F32 = np.zeros_like(self.value)
        self.second: F32 = np.zeros_like(self.value)

    def step(self, rate: float, count: int) -> None:
        """Take Adam step number ``count`` (Kingma and Ba, 2015)."""
        self.first += 0.1 * (self.grad - self.first)
        self.second += 0.001 * (self.grad**2 - self.second)
        first = self.first / (1 - 0.9**count)
        second = self.second / (1 - 0.999**count)
        self.value -= np.float32(rate) * first / (np.sqrt(second) + np.float32(1e-8))


class Layer(Protocol):
    """A differentiable step with trained parameters and, for ONNX, named weights."""

    def forward(self, x: F32, *, train: bool) -> F32:
        """Return the layer's output."""

    def backward(self, grad: F32) -> F32:
        """Set the parameters' gradients and return that of the input."""

    def parameters(self) -> list[Parameter]:
        """Return what Adam updates."""

    def emit(self, tape: Tape, x: ir.Value) -> ir.Value:
        """Write the layer as ONNX nodes (``[n, c, h, w]``) and return its output."""


class Conv:
    """A convolution without bias: ``w`` is ``[k * k * c_in, c_out]``, padding keeps the size."""

    def __init__(
        self, rng: np.random.Generator, name: str, c_in: int, c_out: int, k: int, stride: int = 1
    ) -> None:
        self.name, self.k, self.stride = name, k, stride
        fan_in = k * k * c_in
        self.w = Parameter(rng.normal(0, np.sqrt(2 / fan_in), (fan_in, c_out)))

    def forward(self, x: F32, *, train: bool) -> F32:
        del train
        self.shape = x.shape
        taps = [tap for _, tap in _taps(_padded(x, self.k), self.k, self.stride)]
        self.columns = np.stack(taps, axis=3).reshape(-1, len(self.w.value))
        n, h, w, _ = taps[0].shape
        return (self.columns @ self.w.value).reshape(n, h, w, -1)

    def backward(self, grad: F32) -> F32:
        flat = grad.reshape(-1, grad.shape[-1])
        self.w.grad = self.columns.T @ flat
        columns = (flat @ self.w.value.T).reshape(*grad.shape[:3], self.k**2, -1)
        padded = _padded(np.zeros(self.shape, np.float32), self.k)
        for i, tap in _taps(padded, self.k, self.stride):
            tap += columns[..., i, :]
        return _unpadded(padded, self.k)

    def parameters(self) -> list[Parameter]:
        return [self.w]

    def emit(self, tape: Tape, x: ir.Value) -> ir.Value:
        kernel = self.w.value.reshape(self.k, self.k, -1, self.w.value.shape[1])
        weight = kernel.transpose(3, 2, 0, 1)
        return _emitted_conv(tape, x, self.name, weight, self.stride, groups=1)


class Depthwise:
    """A 3x3 convolution of each channel by itself: ``w`` is ``[9, c]``."""

    def __init__(
        self, rng: np.random.Generator, name: str, channels: int, stride: int = 1
    ) -> None:
        self.name, self.stride = name, stride
        self.w = Parameter(rng.normal(0, np.sqrt(2 / 9), (9, channels)))

    def forward(self, x: F32, *, train: bool) -> F32:
        del train
        self.padded = _padded(x, 3)
        taps = _taps(self.padded, 3, self.stride)
        total: F32 = np.sum([tap * self.w.value[i] for i, tap in taps], axis=0, dtype=np.float32)
        return total

    def backward(self, grad: F32) -> F32:
        padded = np.zeros_like(self.padded)
        for i, tap in _taps(padded, 3, self.stride):
            tap += grad * self.w.value[i]
        for i, tap in _taps(self.padded, 3, self.stride):
            self.w.grad[i] = (tap * grad).sum(axis=(0, 1, 2))
        return _unpadded(padded, 3)

    def parameters(self) -> list[Parameter]:
        return [self.w]

    def emit(self, tape: Tape, x: ir.Value) -> ir.Value:
        weight = self.w.value.T.reshape(-1, 1, 3, 3)
        return _emitted_conv(tape, x, self.name, weight, self.stride, groups=len(weight))


class BatchNorm:
    """Batch normalisation over all axes but the last, with running statistics."""

    def __init__(self, name: str, channels: int) -> None:
        self.name = name
        self.gamma = Parameter(np.ones(channels))
        self.beta = Parameter(np.zeros(channels))
        self.mean: F32 = np.zeros(channels, np.float32)
        self.var: F32 = np.ones(channels, np.float32)

    def forward(self, x: F32, *, train: bool) -> F32:
        mean, var = self.mean, self.var
        if train:
            mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
            self.mean += 0.1 * (mean - self.mean)
            self.var += 0.1 * (var - self.var)
        self.inverse: F32 = 1 / np.sqrt(var + np.float32(BN_EPSILON))
        self.normal: F32 = (x - mean) * self.inverse
        result: F32 = self.normal * self.gamma.value + self.beta.value
        return result

    def backward(self, grad: F32) -> F32:
        self.gamma.grad = (grad * self.normal).sum(axis=(0, 1, 2))
        self.beta.grad = grad.sum(axis=(0, 1, 2))
        count = np.float32(grad.size / grad.shape[-1])
        centred = grad - (self.beta.grad + self.normal * self.gamma.grad) / count
        result: F32 = (self.gamma.value * self.inverse * centred).astype(np.float32)
        return result

    def parameters(self) -> list[Parameter]:
        return [self.gamma, self.beta]

    def emit(self, tape: Tape, x: ir.Value) -> ir.Value:
        named = {
            "gamma": self.gamma.value,
            "beta": self.beta.value,
            "mean": self.mean,
            "var": self.var,
        }
        inputs = [_initializer(tape, f"{self.name}_{key}", value) for key, value in named.items()]
        return tape.op(
            "BatchNormalization", [x, *inputs], {"epsilon": BN_EPSILON}, name=f"{self.name}_bn"
        )


class Relu:
    """The rectifier."""

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, x: F32, *, train: bool) -> F32:
        del train
        self.positive = x > 0
        return x * self.positive

    def backward(self, grad: F32) -> F32:
        return grad * self.positive

    def parameters(self) -> list[Parameter]:
        return []

    def emit(self, tape: Tape, x: ir.Value) -> ir.Value:
        return tape.op("Relu", [x], name=f"{self.name}_relu")


class Chain:
    """Layers one after the other; with ``residual``, their input is added to their output."""

    def __init__(self, *layers: Layer, residual: bool = False) -> None:
        self.layers, self.residual = layers, residual

    def forward(self, x: F32, *, train: bool) -> F32:
        y = x
        for layer in self.layers:
            y = layer.forward(y, train=train)
        return x + y if self.residual else y

    def backward(self, grad: F32) -> F32:
        inner = grad
        for layer in reversed(self.layers):
            inner = layer.backward(inner)
        return grad + inner if self.residual else inner

    def parameters(self) -> list[Parameter]:
        return [parameter for layer in self.layers for parameter in layer.parameters()]

    def emit(self, tape: Tape, x: ir.Value) -> ir.Value:
        y = x
        for layer in self.layers:
            y = layer.emit(tape, y)
        return tape.op("Add", [x, y], name="residual_add") if self.residual else y


class Classifier:
    """Average over the image, then a linear map to the ten classes."""

    def __init__(self, rng: np.random.Generator, channels: int) -> None:
        self.w = Parameter(rng.normal(0, np.sqrt(1 / channels), (channels, 10)))
        self.b = Parameter(np.zeros(10))

    def forward(self, x: F32, *, train: bool) -> F32:
        del train
        self.shape = x.shape
        self.pooled: F32 = x.mean(axis=(1, 2))
        result: F32 = self.pooled @ self.w.value + self.b.value
        return result

    def backward(self, grad: F32) -> F32:
        self.w.grad, self.b.grad = self.pooled.T @ grad, grad.sum(axis=0)
        each = (grad @ self.w.value.T)[:, None, None] / np.float32(self.shape[1] * self.shape[2])
        return np.broadcast_to(each, self.shape)

    def parameters(self) -> list[Parameter]:
        return [self.w, self.b]

    def emit(self, tape: Tape, x: ir.Value) -> ir.Value:
        pooled = tape.op("GlobalAveragePool", [x], name="pool")
        flat = tape.op("Flatten", [pooled], {"axis": 1}, name="flatten")
        weight = _initializer(tape, "class_w", self.w.value.T)
        bias = _initializer(tape, "class_b", self.b.value)
        return tape.op("Gemm", [flat, weight, bias], {"transB": 1}, name="class_gemm")


def _initializer(tape: Tape, name: str, value: F32) -> ir.Value:
    return tape.initializer(ir.tensor(np.ascontiguousarray(value), name=name))


def _emitted_conv(
    tape: Tape, x: ir.Value, name: str, weight: F32, stride: int, *, groups: int
) -> ir.Value:
    k = weight.shape[-1]
    attributes: dict[str, int | list[int]] = {
        "kernel_shape": [k, k],
        "pads": [k // 2] * 4,
        "strides": [stride, stride],
        "group": groups,
    }
    inputs = [x, _initializer(tape, f"{name}_w", weight)]
    return tape.op("Conv", inputs, attributes, name=f"{name}_conv")


def _padded(x: F32, k: int) -> F32:
    p = k // 2
    return np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))


def _unpadded(x: F32, k: int) -> F32:
    p = k // 2
    return x[:, p : x.shape[1] - p, p : x.shape[2] - p]


def _taps(padded: F32, k: int, stride: int) -> Iterator[tuple[int, F32]]:
    """Yield, for each kernel tap, its index and a view of the inputs it meets."""
    height, width = padded.shape[1] - k + 1, padded.shape[2] - k + 1
    for i in range(k * k):
        y, x = divmod(i, k)
        yield i, padded[:, y : y + height : stride, x : x + width : stride]
