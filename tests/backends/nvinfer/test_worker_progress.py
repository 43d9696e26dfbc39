from __future__ import annotations

import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bmopt.backends.nvinfer.build_spec import BuildOutcome, BuildSpec
from bmopt.backends.nvinfer.worker_progress import TOTAL, PhaseTree, ProgressWriter
from bmopt.core.engine import BuildOptions, Profile


def test_a_part_counts_within_the_step_of_its_phase() -> None:
    tree = PhaseTree()
    tree.start("all", None, 4)
    assert tree.done == 0
    tree.step("all", 0)
    assert tree.done == 250
    tree.start("part", "all", 5)
    tree.step("part", 2)
    assert tree.done == 250 + 150
    tree.start("inner", "part", 2)
    tree.step("inner", 0)
    assert tree.done == 250 + 175
    tree.finish("inner")
    tree.finish("part")
    tree.step("all", 1)
    assert tree.done == 500
    tree.finish("all")
    assert tree.done == TOTAL


def test_a_second_part_of_a_step_does_not_set_it_back() -> None:
    tree = PhaseTree()
    tree.start("all", None, 1)
    tree.start("first", "all", 2)
    tree.step("first", 0)
    assert tree.done == 500
    tree.finish("first")
    tree.start("second", "all", 4)
    tree.step("second", 0)
    assert tree.done == 500
    tree.step("second", 2)
    assert tree.done == 750


def test_unknown_phases_do_no_harm() -> None:
    tree = PhaseTree()
    tree.step("none", 0)
    tree.finish("none")
    tree.start("part", "none", 0)
    tree.step("part", 0)
    assert tree.done == TOTAL


_NAMES = st.sampled_from(["a", "b", "c"])
_EVENTS = st.one_of(
    st.tuples(st.just("start"), _NAMES, st.none() | _NAMES, st.integers(0, 4)),
    st.tuples(st.just("step"), _NAMES, st.integers(0, 5)),
    st.tuples(st.just("finish"), _NAMES),
)


@given(st.lists(_EVENTS, max_size=30))
def test_the_share_never_falls(events: list[tuple[object, ...]]) -> None:
    tree = PhaseTree()
    last = 0
    for name, *arguments in events:
        getattr(tree, str(name))(*arguments)
        assert last <= tree.done <= TOTAL
        last = tree.done


def test_writes_a_line_when_it_grows_only() -> None:
    stream = io.StringIO()
    writer = ProgressWriter(stream)
    writer.phase_start("all", None, 2)
    assert writer.step_complete("all", 0)
    assert writer.step_complete("all", 0)
    writer.phase_finish("all")
    assert stream.getvalue() == f"500 {TOTAL}\n{TOTAL} {TOTAL}\n"


def test_the_build_is_cancelled_when_nobody_listens() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    writer = ProgressWriter(Closed())
    writer.phase_start("all", None, 2)
    assert not writer.step_complete("all", 0)


def test_a_spec_and_an_outcome_are_read_as_they_were_written() -> None:
    options = BuildOptions(profiles={"x": Profile((1, 2), (3, 4), (5, 6))}, level=2, strip=True)
    spec = BuildSpec("rtx", Path("/a"), Path("/b"), Path("/c"), ("sm86",), options)
    assert BuildSpec.from_json(spec.to_json()) == spec
    outcome = BuildOutcome("1.7", 2.5, "BuildError", "no", ("one", "two"))
    assert BuildOutcome.from_json(outcome.to_json()) == outcome
