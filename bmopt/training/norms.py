"""BatchNormalization put back behind convolutions for the time of training.

Models come with their normalisations folded, and without them a network bears small learning
rates only (S. Ioffe and C. Szegedy, "Batch Normalization", 2015): scales of channels differ by
orders of magnitude, and one step that suits some ruins others. So every convolution gets one that
changes nothing at first, its scale and shift being the deviation and mean of what the convolution
computes; it is trained like any other, and folded into weight and bias again at the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.graph.values import is_op
from bmopt.training.parameters import Parameter

_EPSILON = 1e-5
_MOMENTUM = 0.1


@dataclasses.dataclass(frozen=True)
class Norm:
    """A normalisation behind a convolution.

    Attributes:
        node: The convolution's name.
        output: What it writes.
        weight: Parameter of its weight, ``[channels, ...]``.
        bias: Parameter of its bias, ``[channels]``.
    """

    node: str
    output: str
    weight: str
    bias: str

    @property
    def names(self) -> tuple[str, str, str, str]:
        """Names of scale, shift, running mean and running variance among the variables."""
        scale, shift, mean, variance = (
            f"{self.node}:{part}" for part in ("scale", "shift", "mean", "variance")
        )
        return scale, shift, mean, variance

    def apply(
        self, torch: Torch, x: Tensor, variables: Mapping[str, Tensor], *, is_training: bool
    ) -> Tensor:
        """Return ``x`` normalised; in training by its own statistics, which are remembered."""
        scale, shift, mean, variance = (variables[name] for name in self.names)
        return torch.nn.functional.batch_norm(
            *(x, mean, variance, scale, shift),
            training=is_training,
            momentum=_MOMENTUM,
            eps=_EPSILON,
        )

    def parameters(self, mean: Array, variance: Array) -> tuple[Parameter, ...]:
        """Return what it needs to change nothing where the statistics are these."""
        scale = np.sqrt(variance + _EPSILON)
        arrays = (scale, mean, mean, variance)
        kinds = ("other", "other", "running", "running")
        return tuple(
            Parameter(name, array.astype(np.float32), kind)
            for name, array, kind in zip(self.names, arrays, kinds, strict=True)
        )

    def folded(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return weight and bias that compute what convolution and normalisation do."""
        scale, shift, mean, variance = (arrays[name].astype(np.float64) for name in self.names)
        factor = scale / np.sqrt(variance + _EPSILON)
        weight, bias = arrays[self.weight], arrays[self.bias]
        spread = factor.reshape(-1, *(1 for _ in weight.shape[1:]))
        return {
            self.weight: (weight * spread).astype(np.float32),
            self.bias: ((bias - mean) * factor + shift).astype(np.float32),
        }


def norms_of(model: ir.Model, parameters: Iterable[Parameter]) -> tuple[Norm, ...]:
    """Return where normalisations are put back.

    Behind convolutions whose weight and bias are trained and read by nothing else, and which
    have none behind them.
    """
    trained = {each.name for each in parameters}
    found = []
    for node in model.graph:
        if not is_op(node, "Conv") or len(node.inputs) < 3 or _is_normalised(node):
            continue
        weight, bias = (node.inputs[index] for index in (1, 2))
        if weight is None or bias is None:
            continue
        if all(v.name in trained and len(tuple(v.uses())) == 1 for v in (weight, bias)):
            output = node.outputs[0].name or ""
            found.append(Norm(node.name or "", output, weight.name or "", bias.name or ""))
    return tuple(found)


def measured(
    torch: Torch,
    norms: Sequence[Norm],
    batches: Iterable[Mapping[str, Tensor]],
    run: Callable[[Mapping[str, Tensor], Sequence[str]], Mapping[str, Tensor]],
) -> tuple[Parameter, ...]:
    """Return the variables of ``norms``, from what the convolutions compute on some batches."""
    sums: dict[str, list[Tensor]] = {}
    names = [norm.output for norm in norms]
    with torch.no_grad():
        for feeds in batches:
            found = run(feeds, names)
            for name in names:
                flat = found[name].double().transpose(0, 1).flatten(1)
                new = [flat.sum(1), flat.square().sum(1), torch.tensor(float(flat.shape[1]))]
                old = sums.get(name, [0.0, 0.0, 0.0])
                sums[name] = [a + b for a, b in zip(old, new, strict=True)]
    parameters: list[Parameter] = []
    for norm in norms:
        total, squares, count = (part.cpu().numpy() for part in sums[norm.output])
        mean = total / count
        variance = np.maximum(squares / count - mean**2, 0.0)
        parameters += norm.parameters(mean, variance)
    return tuple(parameters)


def _is_normalised(node: ir.Node) -> bool:
    return any(is_op(use.node, "BatchNormalization") for use in node.outputs[0].uses())
