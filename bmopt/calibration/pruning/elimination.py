"""In which order channels go, if what reads them is fitted anew each time.

The error of a product whose weight is fitted is a quadratic form of the inputs that it has left.
Taking some of them away adds ``w_S (Q_SS)^-1 w_S^T``, where ``Q`` is the inverse of the form and
``w`` the fitted weight, and both of what is left follow in closed form: E. Frantar and
D. Alistarh, "Optimal Brain Compression" (NeurIPS 2022), for whole channels as in E. Kurtic et al.,
"ZipLM" (NeurIPS 2023). Here a channel may have several readers, whose errors are added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bmopt.calibration.sequence.fitting import damped
from bmopt.graph.channels.units import Ints

Floats = npt.NDArray[np.float64]

_DAMPING = 1e-4
_NOTHING = 1e-12
_SHRINK = 0.8
"""Matrices are made smaller when less than this is left of them."""
_AT_ONCE = 64
"""Of this many channels the one that matters least goes at a time, of more as many more."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What a reader computes of a group's channels.

    Attributes:
        weight: ``[groups, outputs, K]``.
        form: Mean of ``x^T x`` of what it reads, ``[groups, K, K]``.
        columns: The group's channel of each input, -1 where it is another's, ``[K]``.
    """

    weight: Floats
    form: Floats
    columns: Ints

    @property
    def signal(self) -> float:
        """Mean square of what it computes, over all outputs."""
        return max(float(np.einsum("gok,gok->", self.weight @ self.form, self.weight)), 1e-30)


@dataclasses.dataclass(frozen=True)
class Elimination:
    """Channels in the order in which they go.

    Attributes:
        order: All channels, the first to go first; the last one stays.
        errors: Error of all readers as a share of their signals, after none, one, two, ... went.
    """

    order: tuple[int, ...]
    errors: tuple[float, ...]


def eliminate(parts: Sequence[Part], size: int) -> Elimination:
    """Return the order in which channels go, always that which costs the least then.

    Args:
        parts: The readers; at least one.
        size: How many channels there are.
    """
    states = [_State(part, size) for part in parts]
    left = np.arange(size)
    order: list[int] = []
    errors = [0.0]
    while len(left) > 1:
        costs = sum((state.costs(left) for state in states), np.zeros(len(left)))
        most = min(max(1, len(left) // _AT_ONCE), len(left) - 1)
        gone = left[np.argsort(costs, kind="stable")[:most]]
        added = sum(state.drop(gone) for state in states)
        # Of what goes at once, each is taken to cost the same.
        errors += [errors[-1] + added * (at + 1) / most for at in range(most)]
        order += gone.tolist()
        left = left[~np.isin(left, gone)]
    return Elimination((*order, *left.tolist()), tuple(errors))


class _State:
    """A reader with fewer and fewer inputs."""

    def __init__(self, part: Part, size: int) -> None:
        self._share = 1.0 / part.signal
        # What never varies is no loss, however large its weight.
        power = np.einsum("gkk->gk", part.form)
        varies = power > _NOTHING * power.mean(axis=1, keepdims=True)
        self._weight = part.weight * varies[:, None, :]
        self._inverse = np.linalg.inv(damped(part.form, _DAMPING))
        self._places = [np.flatnonzero(part.columns == one) for one in range(size)]
        self._widths = np.array([len(at) for at in self._places])
        self._alive = np.ones(len(part.columns), np.bool_)

    def costs(self, channels: Ints) -> Floats:
        """Return by how much the error grows if each of ``channels`` goes alone."""
        found = np.zeros(len(channels))
        widths = self._widths[channels]
        for width in np.unique(widths[widths > 0]).tolist():
            ours = np.flatnonzero(widths == width)
            at = np.stack([self._places[one] for one in channels[ours].tolist()])
            found[ours] = self._errors(at)
        return found

    def _errors(self, at: npt.NDArray[np.intp]) -> Floats:
        """Return the error of losing the inputs ``at [sets, inputs]``, for each set."""
        blocks = self._inverse[:, at[:, :, None], at[:, None, :]]
        weight = self._weight[:, :, at].transpose(0, 2, 3, 1)
        solved = np.linalg.solve(blocks, weight)
        found: Floats = self._share * np.einsum("gsio,gsio->s", weight, solved)
        return np.maximum(found, 0.0)

    def drop(self, channels: Ints) -> float:
        """Take channels away; return by how much the error grows."""
        at = np.concatenate([self._places[one] for one in channels.tolist()])
        if not len(at):
            return 0.0
        error = float(self._errors(at[None])[0])
        across = self._inverse[:, at, :]
        solved = np.linalg.solve(self._inverse[:, at[:, None], at], across)
        self._weight -= self._weight[:, :, at] @ solved
        self._inverse -= across.swapaxes(1, 2) @ solved
        self._alive[at] = False
        if self._alive.mean() < _SHRINK:
            self._shrink()
        return error

    def _shrink(self) -> None:
        """Forget inputs that are gone."""
        alive = np.flatnonzero(self._alive)
        self._weight = self._weight[:, :, alive]
        self._inverse = np.ascontiguousarray(self._inverse[:, alive[:, None], alive])
        moved = np.cumsum(self._alive) - 1
        self._places = [moved[at] for at in self._places]
        self._alive = np.ones(len(alive), np.bool_)


def refit(part: Part, kept: npt.NDArray[np.bool_]) -> Floats:
    """Return the weight fitted to what is left of its inputs, zero for the others.

    Args:
        part: The reader.
        kept: Whether each of the group's channels stays, ``[size]``.
    """
    stays = np.flatnonzero((part.columns < 0) | kept[part.columns])
    found = np.zeros_like(part.weight)
    if not len(stays):
        return found
    form = damped(part.form[:, stays[:, None], stays], _DAMPING)
    wanted = part.weight @ part.form[:, :, stays] + part.weight[:, :, stays] @ (
        form - part.form[:, stays[:, None], stays]
    )
    found[:, :, stays] = np.linalg.solve(form, wanted.swapaxes(1, 2)).swapaxes(1, 2)
    return found
