"""Images moved and mirrored at random, a batch at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bmopt.core.dataset import InputSpec
from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.errors import UsageError

_CHANNELS = (1, 3)


@dataclasses.dataclass(frozen=True)
class Augment:
    """What is done to the images of one input.

    Attributes:
        input: The input's name.
        is_channels_last: Whether it is ``[N, H, W, C]`` and not ``[N, C, H, W]``.
        flips: Whether every second image, at random, is mirrored left to right.
        shift: By how many pixels images are moved at most, either way; what comes in from
            outside is the image mirrored at its edge.
    """

    input: str
    is_channels_last: bool
    flips: bool
    shift: int

    def apply(self, torch: Torch, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the batch ``images`` as ``rng`` has it moved."""
        axes = (1, 2) if self.is_channels_last else (2, 3)
        count, (height, width) = len(images), (images.shape[axis] for axis in axes)
        down = rng.integers(-self.shift, self.shift + 1, (2, count))
        mirrored = rng.random(count) < (0.5 if self.flips else 0.0)
        rows = _mirrored_at_edges(np.arange(height) + down[0][:, None], height)
        columns = _mirrored_at_edges(np.arange(width) + down[1][:, None], width)
        columns[mirrored] = columns[mirrored, ::-1]
        sample = torch.arange(count)[:, None, None]
        at = (sample, torch.from_numpy(rows)[:, :, None], torch.from_numpy(columns)[:, None, :])
        at = tuple(index.to(images.device) for index in at)
        last = images if self.is_channels_last else images.permute(0, 2, 3, 1)
        found = last[at]
        return found if self.is_channels_last else found.permute(0, 3, 1, 2)


def augment_of(options: Sequence[str], specs: Sequence[InputSpec]) -> Augment | None:
    """Return what the options say for a model's inputs; None where they say nothing.

    Raises:
        UsageError: An option is unknown, or the model has not exactly one input of images.
    """
    if not options:
        return None
    flips, shift = False, 0
    for option in options:
        kind, _, number = option.partition(":")
        if option == "flip":
            flips = True
        elif kind == "crop" and number.isdecimal() and int(number) > 0:
            shift = int(number)
        else:
            raise UsageError(f"augment {option!r}: write flip, or crop:N with N in pixels")
    images = [spec for spec in specs if spec.shape is not None and len(spec.shape) == 4]
    if len(images) != 1:
        raise UsageError(
            f"augment: the model has {len(images)} inputs of images, and it needs one; leave out "
            "--augment"
        )
    shape = images[0].shape or ()
    is_last = shape[1] not in _CHANNELS and shape[3] in _CHANNELS
    return Augment(images[0].name, is_last, flips, shift)


def _mirrored_at_edges(index: np.ndarray, size: int) -> np.ndarray:
    """Return the indices with those outside ``[0, size)`` reflected, the edge not repeated."""
    period = max(2 * (size - 1), 1)
    folded: np.ndarray = np.minimum(index % period, period - index % period)
    return folded
