"""The least number of insertions, deletions and substitutions between two sequences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def edit_distance(wanted: Sequence[str], given: Sequence[str]) -> int:
    """Return Levenshtein's distance, by Wagner and Fischer's table a row at a time.

    Time is len(wanted) * len(given), memory len(given).
    """
    tokens = {token: index for index, token in enumerate({*wanted, *given})}
    columns = np.array([tokens[token] for token in given], dtype=np.int64)
    steps = np.arange(columns.size + 1)
    row = steps.copy()
    for count, token in enumerate(wanted, 1):
        following = np.empty_like(row)
        following[0] = count
        np.minimum(row[1:] + 1, row[:-1] + (columns != tokens[token]), out=following[1:])
        # An insertion is a step to the right at a cost of 1, so the cheapest run of them is a
        # running minimum once the cost of the way there is taken off.
        row = np.minimum.accumulate(following - steps) + steps
    return int(row[-1])
