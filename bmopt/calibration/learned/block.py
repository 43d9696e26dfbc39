"""The products of one block, learned together on the error of what the block computes.

Block reconstruction after BRECQ (Li et al. 2021, arXiv:2102.05426): the block reads what the
quantised model before it computes and is to compute what the float model does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bmopt.calibration.learned.channels import Channels
from bmopt.calibration.learned.descent import Deadline, Descent
from bmopt.calibration.learned.learnable import Learnable, Learned
from bmopt.calibration.learned.moving import Moving
from bmopt.calibration.learned.options import LearnOptions
from bmopt.calibration.learned.soft_rounding import SoftRounding
from bmopt.calibration.learned.weight import is_held_out
from bmopt.core.runner import Array
from bmopt.differentiable.program import Place, Program
from bmopt.differentiable.torch_access import Tensor, Torch

_SURE = 2.0


@dataclasses.dataclass(frozen=True)
class BlockData:
    """Samples of one block.

    Attributes:
        feeds: What the quantised block reads -> ``[samples, ...]``.
        targets: What it computes -> what the float block computes there, ``[samples, ...]``.
    """

    feeds: Mapping[str, Array]
    targets: Mapping[str, Array]

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return min(len(array) for array in [*self.feeds.values(), *self.targets.values()])


class Block:
    """A block in torch.

    Args:
        torch: The torch module.
        program: The quantised block.
        learnables: Its products.
        data: Its samples.
        options: How to learn.
    """

    def __init__(
        self,
        torch: Torch,
        program: Program,
        learnables: Sequence[Learnable],
        data: BlockData,
        options: LearnOptions,
    ) -> None:
        self._torch = torch
        self._program = program
        self._learnables = learnables
        self._options = options
        self._feeds = {name: _tensor(torch, array) for name, array in data.feeds.items()}
        self._targets = {name: _tensor(torch, array) for name, array in data.targets.items()}
        held = is_held_out(data.samples, options.held_out)
        self._held_out = torch.from_numpy(np.flatnonzero(held))
        self._learned_on = torch.from_numpy(np.flatnonzero(~held))
        self._power = {
            name: max(float(target.square().mean()), 1e-30)
            for name, target in self._targets.items()
        }
        self._scales = [_tensor(torch, item.scales) for item in learnables]
        self._starts = [_tensor(torch, item.weight.whole()) for item in learnables]
        self._biases = [
            None if item.bias is None else _tensor(torch, item.bias.real().reshape(-1))
            for item in learnables
        ]

    def learn(self, seed: int, deadline: Deadline) -> list[Learned] | None:
        """Return what is better than the start on the samples held out, None for nothing.

        Better by more than chance: the mean gain of a sample is beyond two standard errors. None
        as well where the block's shapes hold for another number of samples only.
        """
        torch = self._torch
        try:
            before = self._errors(self._held_out, self._starts, self._biases)
        except RuntimeError:
            return None
        scale = float(self._errors(self._learned_on, self._starts, self._biases).mean())
        if len(before) < 2 or not float(before.sum()) > 0 or not scale > 0:
            return None
        found = self._descend(scale, seed, deadline)
        with torch.no_grad():
            gains = before - self._errors(self._held_out, *found)
        doubt = float(gains.std()) / len(gains) ** 0.5
        return self._learned(*found) if float(gains.mean()) > _SURE * doubt else None

    def _descend(
        self, scale: float, seed: int, deadline: Deadline
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Return the whole numbers and biases that gradient descent arrives at."""
        products = self._moving()

        def loss(chosen: Tensor) -> Tensor:
            whole, biases = zip(*(product.soft() for product in products), strict=True)
            return self._loss(self._learned_on[chosen], whole, biases).mean() / scale

        count = len(self._learned_on)
        descent = Descent(self._torch, products, loss, count, self._options.batch)
        descent.run(self._options, seed, deadline)
        whole, biases = zip(*(product.whole() for product in products), strict=True)
        return list(whole), list(biases)

    def _moving(self) -> list[Moving]:
        seen = self._seen()
        return [
            Moving(
                self._torch,
                SoftRounding(self._torch, item.weight.whole(), item.ideal(), item.quant.limit),
                start,
                bias,
                seen[item.output].spread(),
                self._mean_of(item, scales, seen[item.read].mean()),
            )
            for item, start, bias, scales in zip(
                self._learnables, self._starts, self._biases, self._scales, strict=True
            )
        ]

    def _mean_of(
        self, item: Learnable, scales: Tensor, mean: Tensor
    ) -> Callable[[Tensor], Tensor]:
        """Return what a change of the whole numbers does to the output's mean.

        Args:
            item: The product.
            scales: Of its weight.
            mean: Of the channels that it reads; padding is not thought of.
        """
        spread = _tensor(self._torch, item.spread_inputs(mean.numpy())) * scales
        axes = [axis for axis in range(spread.dim()) if axis != item.product.axis]
        return lambda change: (change * spread).sum(dim=axes)

    def _learned(self, whole: Sequence[Tensor], biases: Sequence[Tensor | None]) -> list[Learned]:
        return [
            Learned(weight.numpy(), None if bias is None else bias.numpy().astype(np.float64))
            for weight, bias in zip(whole, biases, strict=True)
        ]

    def _replaced(
        self, whole: Sequence[Tensor], biases: Sequence[Tensor | None]
    ) -> dict[Place, Tensor]:
        found: dict[Place, Tensor] = {}
        for item, weight, bias, scales in zip(
            self._learnables, whole, biases, self._scales, strict=True
        ):
            found[(item.name, item.quant.input)] = weight * scales
            if bias is not None and item.home is not None:
                place = (item.home.node.name or "", item.home.input)
                found[place] = bias.reshape(item.home.shape)
        return found

    def _loss(
        self, samples: Tensor, whole: Sequence[Tensor], biases: Sequence[Tensor | None]
    ) -> Tensor:
        """Return every sample's mean squared error over the power, summed over the outputs."""
        feeds = {name: tensor[samples] for name, tensor in self._feeds.items()}
        found = self._program.run(feeds, self._replaced(whole, biases), list(self._targets))
        return sum(
            (found[name] - target[samples]).square().reshape(len(samples), -1).mean(dim=1)
            / self._power[name]
            for name, target in self._targets.items()
        )

    def _errors(
        self, samples: Tensor, whole: Sequence[Tensor], biases: Sequence[Tensor | None]
    ) -> Tensor:
        with self._torch.no_grad():
            parts = samples.split(self._options.batch)
            return self._torch.cat([self._loss(p, whole, biases).double() for p in parts])

    def _seen(self) -> dict[str, Channels]:
        """Return what products read and compute at the start."""
        seen = {
            name: Channels(item.channel_axis)
            for item in self._learnables
            for name in (item.read, item.output)
        }
        replaced = self._replaced(self._starts, self._biases)
        with self._torch.no_grad():
            for part in self._learned_on.split(self._options.batch):
                feeds = {name: tensor[part] for name, tensor in self._feeds.items()}
                found = self._program.run(feeds, replaced, list(seen))
                for name, tensor in found.items():
                    seen[name].add(tensor)
        return seen


def _tensor(torch: Torch, array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
