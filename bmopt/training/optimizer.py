"""Adam and SGD over a student's variables, with a state that goes into a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmopt.core.runner import Array
from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.training.options import TrainOptions
from bmopt.training.student import Student

_LONGEST = 5.0
_MOMENTUM = 0.9


class Optimizer:
    """Changes a student's variables along the gradient.

    Gradients longer than 5 are shortened to that: the first steps of a model that was just cut
    can be long.

    Args:
        torch: The torch module.
        student: Whose variables are trained.
        options: Which optimiser, and its rates.
    """

    def __init__(self, torch: Torch, student: Student, options: TrainOptions) -> None:
        self._torch = torch
        self._rate = options.rate
        self._variables = [*student.trained("weight"), *student.trained("other")]
        groups = [
            {"params": student.trained("weight"), "weight_decay": options.weight_decay},
            {"params": student.trained("other"), "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if options.optimizer == "adam":
            self._optimizer = torch.optim.AdamW(groups, lr=options.rate)
        else:
            self._optimizer = torch.optim.SGD(
                groups, lr=options.rate, momentum=_MOMENTUM, nesterov=True
            )

    def set_factor(self, factor: float) -> None:
        """Multiply the largest learning rate by ``factor`` from now on."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * factor

    def step(self, loss: Tensor) -> None:
        """Take a step that makes ``loss`` smaller."""
        self._optimizer.zero_grad()
        loss.backward()
        self._torch.nn.utils.clip_grad_norm_(self._variables, _LONGEST)
        self._optimizer.step()

    def arrays(self) -> dict[str, Array]:
        """Return the state by ``number/name``."""
        state = self._optimizer.state_dict()["state"]
        return {
            f"{number}/{name}": value.detach().cpu().contiguous().numpy()
            for number, values in state.items()
            for name, value in values.items()
            if isinstance(value, self._torch.Tensor)
        }

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Put what ``arrays`` returned back."""
        document = self._optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for key, array in arrays.items():
            number, _, name = key.partition("/")
            state.setdefault(int(number), {})[name] = self._torch.from_numpy(np.array(array))
        self._optimizer.load_state_dict({**document, "state": state})
