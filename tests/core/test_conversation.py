from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmopt.core.conversation import Conversation
from bmopt.errors import DataError, IsolatedToolError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Conversation]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with Conversation("the tool", "tests.core.answers") as talk:
        yield talk


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def state_of(pid: int) -> str:
    """The letter that Linux has for the state of a process; X where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def test_answers_one_request_after_the_other(talk: Conversation) -> None:
    told: list[object] = []
    assert talk.ask("add", timeout_s=30, told=told.append, a=1, b=2) == 3
    assert talk.ask("add", timeout_s=30, a=3, b=4) == 7
    assert told == ["adding"]
    assert talk.started_ns < time.monotonic_ns()


def test_an_error_on_purpose_is_raised_here_and_the_child_goes_on(talk: Conversation) -> None:
    with pytest.raises(DataError, match="input 'x' is missing"):
        talk.ask("refuse", timeout_s=30)
    assert talk.ask("add", timeout_s=30, a=1, b=1) == 2


def test_a_crash_is_told_with_the_last_lines_and_stays(talk: Conversation) -> None:
    with pytest.raises(IsolatedToolError, match=r"the tool was killed by SIGSEGV: about to fall"):
        talk.ask("crash", timeout_s=30)
    with pytest.raises(IsolatedToolError, match="SIGSEGV"):
        talk.ask("add", timeout_s=30, a=1, b=1)


def test_a_bug_ends_the_child_with_its_traceback(talk: Conversation) -> None:
    with pytest.raises(
        IsolatedToolError, match=r"exit code 1: .*ZeroDivisionError: a bug of ours"
    ):
        talk.ask("bug", timeout_s=30)


def test_a_child_that_leaves_has_not_answered(talk: Conversation) -> None:
    with pytest.raises(IsolatedToolError, match="the tool ended too early"):
        talk.ask("leave", timeout_s=30)


def test_a_child_that_hangs_is_killed(talk: Conversation) -> None:
    pid = talk.ask("pid", timeout_s=30)
    begin = time.monotonic()
    with pytest.raises(IsolatedToolError, match=r"the tool did not answer for 0.5 s"):
        talk.ask("hang", timeout_s=0.5)
    assert time.monotonic() - begin < 10.0
    assert not is_running(pid)


def test_what_it_says_on_the_way_is_a_sign_of_life(talk: Conversation) -> None:
    talk.ask("pid", timeout_s=30)
    told: list[object] = []
    with pytest.raises(IsolatedToolError, match="did not answer"):
        talk.ask("hang", timeout_s=1.0, told=told.append, signs=4)
    assert told == [0, 1, 2, 3]


def test_closing_ends_the_child(talk: Conversation) -> None:
    pid = talk.ask("pid", timeout_s=30)
    assert pid == talk.pid
    talk.close()
    assert not is_running(pid)


def test_children_may_have_the_same_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def addresses(*, fixed: bool) -> list[tuple[bool, int]]:
        found = []
        for _ in range(3):
            with Conversation("it", "tests.core.answers", fixed_addresses=fixed) as talk:
                assert talk.ask("pid", timeout_s=30) == talk.pid
                found.append(tuple(talk.ask("where", timeout_s=30)))
        return found

    fixed = addresses(fixed=True)
    if not fixed[0][0]:
        pytest.skip("this system keeps addresses random")
    assert len(set(fixed)) == 1
    as_they_are = addresses(fixed=False)
    assert not as_they_are[0][0]
    assert len(set(as_they_are)) > 1


def test_a_child_that_sleeps_between_requests_does_nothing_then(talk: Conversation) -> None:
    talk.ask("spin", timeout_s=30)
    talk.sleep_between_requests(is_wanted=True)
    begin = talk.ask("spin", timeout_s=30)
    time.sleep(0.5)
    assert talk.ask("spin", timeout_s=30) - begin < 100
    talk.sleep_between_requests(is_wanted=False)
    begin = talk.ask("spin", timeout_s=30)
    time.sleep(0.5)
    assert talk.ask("spin", timeout_s=30) - begin > 100


def test_a_crash_is_told_of_a_child_that_sleeps_between_requests(talk: Conversation) -> None:
    talk.sleep_between_requests(is_wanted=True)
    with pytest.raises(IsolatedToolError, match="SIGSEGV"):
        talk.ask("crash", timeout_s=30)
    talk.sleep_between_requests(is_wanted=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl(2) is of Linux")
def test_a_stopped_child_does_not_outlive_its_parent() -> None:
    script = (
        "from bmopt.core.conversation import Conversation\n"
        "talk = Conversation('it', 'tests.core.answers')\n"
        "print(talk.ask('pid', timeout_s=30), flush=True)\n"
        "talk.sleep_between_requests(is_wanted=True)\n"
        "print('asleep', flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "asleep\n"
        parent.kill()
    end = time.monotonic() + 10.0
    while state_of(pid) not in "ZX" and time.monotonic() < end:
        time.sleep(0.05)
    assert state_of(pid) in "ZX"
