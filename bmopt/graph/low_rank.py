"""A matrix as the product of two thinner ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_DAMPING = 1e-6


class Decomposition:
    """Singular vectors of a weight, of most weight in what it computes.

    With second moments, ``W L`` is decomposed, where ``L L^T`` are the moments: its singular
    values are those of the outputs, and the best approximation of them follows (X. Zhang et al.,
    "Accelerating Very Deep Convolutional Networks", 2015, for the outputs of a layer; the
    whitening by a Cholesky factor as in X. Wang et al., "SVD-LLM", 2024).

    Args:
        weight: ``[outputs, inputs]``.
        form: Second moments of the inputs, ``[inputs, inputs]``; None to approximate the weight.
    """

    def __init__(self, weight: Floats, form: Floats | None = None) -> None:
        self._root = None if form is None else _root(form)
        whole = weight if self._root is None else weight @ self._root
        self._left, self._values, self._right = np.linalg.svd(whole, full_matrices=False)

    @property
    def full_rank(self) -> int:
        """The rank at which nothing is lost."""
        return len(self._values)

    def rank_for(self, energy: float) -> int:
        """Return the least rank, 1 at least, that keeps a part of the squares.

        Args:
            energy: Which part, above 0; 1 keeps everything that is not zero.
        """
        kept = np.cumsum(np.square(self._values))
        if kept[-1] <= 0.0:
            return 1
        found = int(np.searchsorted(kept, energy * kept[-1] * (1.0 - 1e-12))) + 1
        return min(found, self.full_rank)

    def energy(self, rank: int) -> float:
        """Return which part of the squares a rank keeps."""
        squares = np.square(self._values)
        total = float(squares.sum())
        return 1.0 if total <= 0.0 else float(squares[:rank].sum()) / total

    def factors(self, rank: int) -> tuple[Floats, Floats]:
        """Return ``[outputs, rank]`` and ``[rank, inputs]``, whose numbers are of one size."""
        root = np.sqrt(self._values[:rank])
        right: Floats = self._right[:rank]
        if self._root is not None:
            right = np.asarray(np.linalg.solve(self._root.T, right.T).T, np.float64)
        return self._left[:, :rank] * root, root[:, None] * right


def _root(form: Floats) -> Floats:
    """Return ``L`` with ``L L^T`` the form, which need not be definite."""
    size = float(np.trace(form)) / max(len(form), 1)
    lifted = form + np.eye(len(form)) * (_DAMPING * size if size > 0.0 else 1.0)
    return np.asarray(np.linalg.cholesky(lifted), np.float64)
