"""What of a model's outputs is compared: scores of classes before their Softmax, or values."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from bmopt.differentiable.torch_access import Tensor
from bmopt.graph.values import producer_of

_KEPT = ("Identity", "Cast")


@dataclasses.dataclass(frozen=True)
class Output:
    """An output of a model.

    Attributes:
        name: Its name.
        read: The tensor that is compared in its place: what a Softmax at the end reads.
        is_scores: Whether a Softmax was there.
    """

    name: str
    read: str
    is_scores: bool


def outputs_of(model: ir.Model) -> tuple[Output, ...]:
    """Return the outputs that hold real numbers."""
    floats = (value for value in model.graph.outputs if _is_float(value))
    return tuple(_output(value) for value in floats)


def class_scores(tensor: Tensor) -> Tensor | None:
    """Return ``[N, classes]`` where a tensor is ``[N, classes]`` or ``[N, classes, 1, 1]``."""
    if tensor.dim() == 4 and tuple(tensor.shape[2:]) == (1, 1):
        tensor = tensor[:, :, 0, 0]
    return tensor if tensor.dim() == 2 and tensor.shape[1] > 1 else None


def _output(value: ir.Value) -> Output:
    source: ir.Value | None = value
    while (node := producer_of(source, *_KEPT)) is not None:
        source = node.inputs[0]
    softmax = producer_of(source, "Softmax", "LogSoftmax")
    if softmax is None or softmax.inputs[0] is None:
        return Output(value.name or "", value.name or "", is_scores=False)
    return Output(value.name or "", softmax.inputs[0].name or "", is_scores=True)


def _is_float(value: ir.Value) -> bool:
    return value.dtype is None or value.dtype.is_floating_point()
