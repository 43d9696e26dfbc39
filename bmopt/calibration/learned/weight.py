"""One product's rounding, learned on rows of what it reads.

AdaRound (Nagel et al. 2020, arXiv:2004.10568) on the activations of the quantised layers before,
with the bias learned beside it as in AdaQuant (Hubara et al. 2020, arXiv:2006.10518).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bmopt.calibration.learned.descent import Deadline, Descent
from bmopt.calibration.learned.moving import Moving
from bmopt.calibration.learned.options import LearnOptions
from bmopt.calibration.learned.soft_rounding import SoftRounding
from bmopt.core.runner import Array
from bmopt.differentiable.torch_access import Tensor, Torch, repeatable, require_torch

Floats = npt.NDArray[np.float64]

_ROWS_PER_SAMPLE = 128
_CHUNK = 8192


@dataclasses.dataclass(frozen=True)
class RoundingProblem:
    """What a product is to compute, and from what.

    Attributes:
        rows: What it reads, ``float32 [groups, rows, K]``.
        wanted: What the float product computes there, its bias included and before an
            activation, ``float32 [groups, rows, outputs]``.
        bounds: Of the Relu or Clip behind it, within which alone differences count; None for
            none.
        weight: What ``start`` was rounded from, ``[groups, outputs, K]``.
        scales: ``[groups, outputs]``.
        start: Whole numbers to start from, ``[groups, outputs, K]``.
        bias: To start from, ``[groups, outputs]``.
        limit: Largest magnitude of a stored number.
        keeps_bias: The bias cannot be changed.
        held_out: Which rows only decide whether what was learned is taken, ``bool [rows]``; None
            for ``LearnOptions.held_out`` of them, evenly.
    """

    rows: Array
    wanted: Array
    bounds: tuple[float, float] | None
    weight: Array
    scales: Array
    start: Array
    bias: Array
    limit: int = 127
    keeps_bias: bool = False
    held_out: Array | None = None


@dataclasses.dataclass(frozen=True)
class LearnedWeight:
    """What was learned; the start where nothing better was.

    Attributes:
        stored: Whole numbers, ``float64 [groups, outputs, K]``.
        bias: ``float64 [groups, outputs]``.
        before: Mean squared error of the start on the rows held out.
        after: The same of this; never larger.
    """

    stored: Floats
    bias: Floats
    before: float
    after: float

    @property
    def is_new(self) -> bool:
        """Whether it differs from the start."""
        return self.after < self.before


def learned_weight(
    problem: RoundingProblem,
    options: LearnOptions | None = None,
    *,
    deadline: Deadline | None = None,
) -> LearnedWeight:
    """Return better whole numbers and bias, or the start where learning found none.

    What was learned is taken only if it errs less on the rows held out.

    Raises:
        UsageError: torch is not installed.
    """
    torch = require_torch()
    chosen = options or LearnOptions()
    with repeatable(torch):
        return _Learning(torch, problem, chosen).run(deadline or Deadline(None))


class _Learning:
    def __init__(self, torch: Torch, problem: RoundingProblem, options: LearnOptions) -> None:
        self._torch = torch
        self._problem = problem
        self._options = options
        count = problem.rows.shape[1]
        held = problem.held_out
        if held is None:
            held = is_held_out(count, options.held_out)
        self._learned_on = self._rows(~held)
        self._held_out = self._rows(held)
        self._scales = _tensor(torch, problem.scales)[:, :, None]

    def run(self, deadline: Deadline) -> LearnedWeight:
        problem, torch = self._problem, self._torch
        start, bias = _tensor(torch, problem.start), _tensor(torch, problem.bias)
        before = self._error(start, bias)
        kept = LearnedWeight(
            problem.start.astype(np.float64), problem.bias.astype(np.float64), before, before
        )
        if before <= 0 or not self._learned_on[0].shape[1]:
            return kept
        moving = self._moving(start, bias)
        scale = self._start_error(start, bias)

        def loss(rows: Tensor) -> Tensor:
            stored, moved = moving.soft()
            return self._loss(rows, stored, bias if moved is None else moved) / scale

        count = self._learned_on[0].shape[1]
        batch = self._options.batch * _ROWS_PER_SAMPLE
        Descent(torch, [moving], loss, count, batch).run(
            self._options, self._options.seed, deadline
        )
        stored, moved = moving.whole()
        new = bias if moved is None else moved.detach()
        after = self._error(stored, new)
        if not after < before:
            return kept
        return LearnedWeight(
            stored.numpy().astype(np.float64), new.numpy().astype(np.float64), before, after
        )

    def _moving(self, start: Tensor, bias: Tensor) -> Moving:
        problem = self._problem
        x, wanted = self._learned_on
        ideal = problem.weight.astype(np.float64) / problem.scales[:, :, None]
        mean = x.mean(dim=1)[:, :, None]
        return Moving(
            self._torch,
            SoftRounding(self._torch, problem.start, ideal, problem.limit),
            start,
            None if problem.keeps_bias else bias,
            wanted.std(dim=1, correction=0),
            lambda change: (change * self._scales @ mean)[:, :, 0],
        )

    def _rows(self, which: Array) -> tuple[Tensor, Tensor]:
        problem = self._problem
        return (
            _tensor(self._torch, problem.rows[:, which]),
            _tensor(self._torch, problem.wanted[:, which]),
        )

    def _output(self, x: Tensor, stored: Tensor, bias: Tensor) -> Tensor:
        found = x @ (stored * self._scales).transpose(1, 2) + bias[:, None]
        return self._behind(found)

    def _behind(self, found: Tensor) -> Tensor:
        return found if self._problem.bounds is None else found.clamp(*self._problem.bounds)

    def _loss(self, rows: Tensor, stored: Tensor, bias: Tensor) -> Tensor:
        x, wanted = (part[:, rows] for part in self._learned_on)
        off = self._output(x, stored, bias) - self._behind(wanted)
        return off.square().mean()

    def _start_error(self, start: Tensor, bias: Tensor) -> float:
        with self._torch.no_grad():
            every = self._torch.arange(min(self._learned_on[0].shape[1], _CHUNK))
            return max(float(self._loss(every, start, bias)), 1e-30)

    def _error(self, stored: Tensor, bias: Tensor) -> float:
        x, wanted = self._held_out
        total = 0.0
        with self._torch.no_grad():
            for first in range(0, x.shape[1], _CHUNK):
                part = slice(first, first + _CHUNK)
                off = self._output(x[:, part], stored, bias) - self._behind(wanted[:, part])
                total += float(off.double().square().sum())
        return total / max(int(wanted.numel()), 1)


def is_held_out(count: int, share: float) -> npt.NDArray[np.bool_]:
    """Return which of ``count`` rows or samples are held out: evenly, the last one of each run."""
    places = np.floor((np.arange(count) + 1) * share + 1e-9)
    held: npt.NDArray[np.bool_] = np.diff(places, prepend=0.0) > 0
    return held


def _tensor(torch: Torch, array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
