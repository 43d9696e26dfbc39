from __future__ import annotations

import dataclasses

from bmopt.core.prune_trials import Point, PruneTrials, front


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


def timed(name: str, latency: float) -> Point:
    interval = (latency - 0.01, latency + 0.01)
    return dataclasses.replace(point(name, 1.0, 0.0, latency), interval=interval)


def test_slower_is_what_noise_and_layout_do_not_explain() -> None:
    assert timed("a", 1.1).is_slower(timed("b", 1.0))
    assert not timed("a", 1.03).is_slower(timed("b", 1.0))
    assert not timed("a", 1.0).is_slower(timed("b", 1.1))
    assert not point("a", 1.0, 0.0, 2.0).is_slower(timed("b", 1.0))


def test_a_choice_that_slows_the_model_has_a_number() -> None:
    points = (timed("source", 0.8), timed("cut", 1.2))
    assert PruneTrials("", "", points, "cut").slowed == 1.2 / 0.8
    assert PruneTrials("", "", points, "source").slowed is None
