"""A model in torch: what is trained, and its teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.differentiable.program import Program, unsupported
from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.errors import ModelError
from bmopt.training.grids import Grid
from bmopt.training.norms import Norm
from bmopt.training.parameters import Parameter


class Student:
    """Nodes of a graph with constants that can be changed.

    Args:
        torch: The torch module.
        model: The graph to be run; Q/DQ pairs in it round values and let gradients pass.
        parameters: What is changed. Empty for a teacher.
        grids: Products whose weights are rounded before they are read, by parameter.
        device: Where it runs.

    Raises:
        ModelError: The graph has ops that torch is not given.
    """

    def __init__(
        self,
        torch: Torch,
        model: ir.Model,
        parameters: Sequence[Parameter] = (),
        grids: Sequence[Grid] = (),
        *,
        device: str = "cpu",
    ) -> None:
        nodes = list(model.graph)
        if ops := unsupported(nodes):
            raise ModelError(
                f"torch is not given {', '.join(ops)} as the graph has it: 'bmopt optimize' may "
                "rewrite that; what is left cannot be trained"
            )
        self._torch = torch
        self._grids = [grid.on(torch, device) for grid in grids]
        self.variables = {each.name: self._variable(each, device) for each in parameters}
        self.kinds = {each.name: each.kind for each in parameters}
        self._device = device
        self._norms: tuple[Norm, ...] = ()
        self._program = Program(torch, nodes, variables=self.variables, device=device)

    def normalise(self, norms: Sequence[Norm], parameters: Sequence[Parameter]) -> None:
        """Put normalisations behind convolutions, with ``parameters`` to be trained too."""
        self._norms = tuple(norms)
        self.variables |= {each.name: self._variable(each, self._device) for each in parameters}
        self.kinds |= {each.name: each.kind for each in parameters}

    def run(
        self, feeds: Mapping[str, Tensor], wanted: Sequence[str], *, is_training: bool = False
    ) -> dict[str, Tensor]:
        """Return the tensors ``wanted``; with ``is_training`` BatchNormalization learns."""
        replaced = {
            place: tensor
            for grid in self._grids
            for place, tensor in grid.replaced(self.variables).items()
        }
        known = {**self.variables, **feeds}
        found = self._program.run(
            known,
            replaced,
            [n for n in wanted if n not in known],
            is_training=is_training,
            behind=self._behind(is_training=is_training),
        )
        return {name: known[name] if name in known else found[name] for name in wanted}

    def _behind(self, *, is_training: bool) -> dict[str, Callable[[Tensor], Tensor]]:
        def change(norm: Norm) -> Callable[[Tensor], Tensor]:
            return lambda x: norm.apply(self._torch, x, self.variables, is_training=is_training)

        return {norm.node: change(norm) for norm in self._norms}

    def trained(self, kind: str) -> list[Tensor]:
        """Return the variables of a kind, in graph order."""
        return [self.variables[name] for name, of in self.kinds.items() if of == kind]

    def arrays(self) -> dict[str, Array]:
        """Return a copy of what the variables hold, ``float32``."""
        return {
            name: tensor.detach().to("cpu", copy=True).contiguous().numpy()
            for name, tensor in self.variables.items()
        }

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Put ``arrays`` into the variables."""
        with self._torch.no_grad():
            for name, array in arrays.items():
                self.variables[name].copy_(self._torch.from_numpy(np.asarray(array, np.float32)))

    def stored(self) -> dict[str, Array]:
        """Return what the model is to hold: ``arrays``, rounded where they are read rounded.

        Normalisations that were put in for training are folded into their convolutions.
        """
        found = self.arrays()
        for norm in self._norms:
            found |= norm.folded(found)
            for name in norm.names:
                del found[name]
        with self._torch.no_grad():
            for grid in self._grids:
                found |= {n: t.cpu().numpy() for n, t in grid.rounded(self.variables).items()}
        return found

    def _variable(self, parameter: Parameter, device: str) -> Tensor:
        tensor = self._torch.from_numpy(parameter.array.copy()).to(device)
        if tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=self._torch.channels_last)
        return tensor.requires_grad_(parameter.kind != "running")
