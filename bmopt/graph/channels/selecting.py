"""Channels of a group that matter least, of which some can go."""

from __future__ import annotations

import numpy as np

from bmopt.graph.channels.groups import Group
from bmopt.graph.channels.norms import Floats


def least(group: Group, importance: Floats, count: int) -> tuple[int, ...]:
    """Return ``count`` channels, the least important ones, in ascending order; one stays.

    Args:
        group: The group.
        importance: Of its channels, ``[group.size]``.
        count: How many are to go.
    """
    order = np.argsort(importance, kind="stable").tolist()
    return tuple(sorted(order[: max(0, min(count, group.size - 1))]))
