from __future__ import annotations

from bmopt.core.prune_trials import Point, front


def point(name: str, macs: float, drop: float | None, latency: float | None = None) -> Point:
    return Point(name, "", macs, macs, 100, latency, drop=drop)


def test_what_another_one_beats_is_not_in_front() -> None:
    points = [point("a", 1.0, 0.0), point("b", 0.7, 1.0), point("c", 0.8, 1.5), point("d", 0.5, 9)]
    assert front(points) == ["d", "b", "a"]


def test_latency_counts_where_all_have_one() -> None:
    assert front([point("a", 1.0, 0.0, 1.0), point("b", 0.5, 1.0, 1.1)]) == ["a"]
    assert front([point("a", 1.0, 0.0, 1.0), point("b", 0.5, 1.0)]) == ["b", "a"]


def test_without_a_metric_the_cheapest_is_in_front() -> None:
    assert front([point("a", 1.0, None), point("b", 0.5, None)]) == ["b"]


def test_a_drop_that_is_not_known_is_not_in_front() -> None:
    assert front([point("a", 1.0, 0.0), point("b", 0.5, None)]) == ["a"]
