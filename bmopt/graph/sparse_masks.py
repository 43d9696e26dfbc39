"""Which weights stay under a pattern, given what each is worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmopt.core.sparsity_pattern import SparsityPattern

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def kept_mask(worth: Floats, pattern: SparsityPattern) -> Mask:
    """Return which weights stay: those worth most that the pattern allows.

    Of equal ones the first stays. Blocks at an edge that they do not divide are smaller; a block
    is worth the mean of what is in it.

    Args:
        worth: ``[groups, outputs, inputs, taps]``; what goes together is added up.
        pattern: With N:M, ``inputs`` is a multiple of M.
    """
    if pattern.of:
        return _of_every(worth, pattern)
    if not pattern.is_block:
        return _largest(worth, pattern.ratio)
    sums, sizes = (_block_sums(one, pattern) for one in (worth, np.ones_like(worth)))
    kept = _largest(sums / sizes, pattern.ratio)
    whole = np.repeat(np.repeat(kept, pattern.rows, axis=1), pattern.columns, axis=2)
    return whole[:, : worth.shape[1], : worth.shape[2]]


def fulfils(zero: Mask, pattern: SparsityPattern) -> bool:
    """Whether a weight's zeros are as many as a pattern asks for, and where it wants them.

    Args:
        zero: ``[groups, outputs, inputs, taps]``.
        pattern: Its ratio is that of whole blocks, or of weights.
    """
    if pattern.of:
        if zero.shape[2] % pattern.of:
            return False
        kept = (~zero.reshape(_cells(zero.shape, pattern.of))).sum(axis=3)
        return bool(kept.max(initial=0) <= pattern.kept)
    return zero_blocks(zero, pattern.rows, pattern.columns) >= _going(
        _block_count(zero.shape, pattern), pattern.ratio
    )


def zero_blocks(zero: Mask, rows: int, columns: int) -> int:
    """Return how many blocks are all zeros."""
    pattern = SparsityPattern(rows=rows, columns=columns)
    left = _block_sums((~zero).astype(np.float64), pattern)
    return int(np.count_nonzero(left == 0))


def _of_every(worth: Floats, pattern: SparsityPattern) -> Mask:
    cells = worth.reshape(_cells(worth.shape, pattern.of))
    order = np.argsort(-cells, axis=3, kind="stable")
    kept = np.zeros(cells.shape, np.bool_)
    np.put_along_axis(kept, order[:, :, :, : pattern.kept], True, axis=3)
    return kept.reshape(worth.shape)


def _cells(shape: tuple[int, ...], of: int) -> tuple[int, ...]:
    """Return ``[groups, outputs, cells, of, taps]``."""
    groups, outputs, inputs, taps = shape
    return groups, outputs, inputs // of, of, taps


def _largest(worth: Floats, ratio: float) -> Mask:
    flat = worth.reshape(-1)
    kept = np.ones(flat.shape, np.bool_)
    # Behind equal ones that stay come those that go.
    order = np.argsort(-flat, kind="stable")
    kept[order[flat.size - _going(flat.size, ratio) :]] = False
    return kept.reshape(worth.shape)


def _going(count: int, ratio: float) -> int:
    return int(count * ratio + 1e-9)


def _block_count(shape: tuple[int, ...], pattern: SparsityPattern) -> int:
    groups, outputs, inputs, taps = shape
    return groups * -(-outputs // pattern.rows) * -(-inputs // pattern.columns) * taps


def _block_sums(array: Floats, pattern: SparsityPattern) -> Floats:
    outputs, inputs = array.shape[1:3]
    down = np.add.reduceat(array, np.arange(0, outputs, pattern.rows), axis=1)
    found: Floats = np.add.reduceat(down, np.arange(0, inputs, pattern.columns), axis=2)
    return found
