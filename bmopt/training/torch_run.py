"""Where and how student and teacher run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from bmopt.core.cpuinfo import common_flags, read_cpus
from bmopt.core.runner import Array
from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.errors import HostError, UsageError
from bmopt.training.options import AUTO, TrainOptions
from bmopt.training.student import Student

_BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
_BF16_CAPABILITY = 8


@dataclasses.dataclass(frozen=True)
class TorchRun:
    """Models on a device.

    Attributes:
        torch: The torch module.
        device: ``"cpu"`` or ``"cuda:N"``.
        is_half: Whether products are computed in bfloat16.
        student: The model that is trained.
        teacher: The one it learns from, None for none.
    """

    torch: Torch
    device: str
    is_half: bool
    student: Student
    teacher: Student | None

    def feeds(self, arrays: Mapping[str, Array]) -> dict[str, Tensor]:
        """Return arrays as tensors on the device, images with their channels last in memory."""
        return {name: self._tensor(array) for name, array in arrays.items()}

    def precision(self) -> AbstractContextManager[Any]:
        """Return a context in which products are computed as asked."""
        kind = self.device.partition(":")[0]
        context: AbstractContextManager[Any] = self.torch.autocast(
            kind, dtype=self.torch.bfloat16, enabled=self.is_half
        )
        return context

    def taught(self, feeds: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """Return tensors of the teacher, without gradients."""
        if self.teacher is None or not names:
            return {}
        with self.torch.no_grad():
            return self.teacher.run(feeds, names)

    def _tensor(self, array: Array) -> Tensor:
        kind = np.float32 if np.issubdtype(array.dtype, np.floating) else array.dtype
        tensor = self.torch.from_numpy(np.ascontiguousarray(array, kind)).to(self.device)
        if tensor.dim() == 4:
            return tensor.contiguous(memory_format=self.torch.channels_last)
        return tensor


def device_of(torch: Torch, options: TrainOptions) -> str:
    """Return the device that options name.

    Raises:
        UsageError: There is no device of that name.
        HostError: This host has not got it.
    """
    name = options.device
    if name == AUTO:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"device {name!r}: write auto, cpu, cuda or cuda:N")
    if kind == "cpu":
        return "cpu"
    index = int(number or 0)
    if index >= torch.cuda.device_count():
        raise HostError(f"device {name}: torch sees {torch.cuda.device_count()} GPUs here")
    return f"cuda:{index}"


def is_half(torch: Torch, options: TrainOptions, device: str, *, is_quantised: bool) -> bool:
    """Return whether products are computed in bfloat16."""
    if options.precision != AUTO:
        return options.precision == "bf16"
    if is_quantised:
        return False
    if device == "cpu":
        flags = common_flags(read_cpus())
        return any(flag in flags for flag in _BF16_FLAGS)
    return bool(torch.cuda.get_device_capability(device)[0] >= _BF16_CAPABILITY)


@contextlib.contextmanager
def threads(torch: Torch, count: int) -> Iterator[None]:
    """Have torch use ``count`` threads for as long as it lasts; 0 changes nothing."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
