from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from bmopt.core.isolate import Ending, run_isolated, start_isolated
from bmopt.errors import IsolatedToolError


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_returns_the_end_of_both_streams() -> None:
    code = "import sys; print('x' * 20000); print('out'); print('err', file=sys.stderr)"
    said = run_isolated(_python(code), timeout_s=20, name="tool")
    assert said.endswith(("err\n", "out\n"))
    assert len(said) <= 8192


def test_names_the_exit_code_and_the_last_lines() -> None:
    code = "print('one'); print('two'); print(); print('three'); print('four'); exit(3)"
    with pytest.raises(
        IsolatedToolError, match=r"tool failed with exit code 3: two \| three \| four"
    ):
        run_isolated(_python(code), timeout_s=20, name="tool")


def test_names_the_signal() -> None:
    code = "import os; os.kill(os.getpid(), 11)"
    with pytest.raises(IsolatedToolError, match="tool was killed by SIGSEGV"):
        run_isolated(_python(code), timeout_s=20, name="tool")


def test_a_message_is_one_line() -> None:
    with pytest.raises(IsolatedToolError) as caught:
        run_isolated(_python("raise ValueError('a\\nb')"), timeout_s=20, name="tool")
    assert "\n" not in str(caught.value)


def test_a_hung_child_and_its_children_are_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    start = time.monotonic()
    with pytest.raises(IsolatedToolError, match=r"tool took longer than 1.5 s"):
        run_isolated(_python(code), timeout_s=1.5, name="tool")
    assert time.monotonic() - start < 15
    _require_ended(int(pid_file.read_text()))


def test_works_while_the_parent_does_something_else() -> None:
    process = start_isolated(_python("print('done')"), timeout_s=20, name="tool")
    assert sum(range(1000)) == 499500
    assert process.wait() == "done\n"
    process.kill()


def test_kill_ends_a_running_child() -> None:
    process = start_isolated(_python("import time; time.sleep(60)"), timeout_s=60, name="tool")
    process.kill()
    process.kill()


def test_the_time_limit_counts_from_the_start() -> None:
    process = start_isolated(_python("import time; time.sleep(60)"), timeout_s=0.2, name="tool")
    time.sleep(0.3)
    start = time.monotonic()
    with pytest.raises(IsolatedToolError, match="took longer"):
        process.wait()
    assert time.monotonic() - start < 5


def test_an_interrupt_kills_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    process = start_isolated(_python("import time; time.sleep(60)"), timeout_s=60, name="tool")
    child = process._child
    waits = iter([KeyboardInterrupt()])
    plain_wait = child.wait

    def wait(timeout: float | None = None) -> int:
        for error in waits:
            raise error
        return plain_wait(timeout)

    monkeypatch.setattr(child, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        process.wait()
    assert child.returncode == -9


def test_tells_the_lines_while_the_child_runs() -> None:
    heard: list[tuple[str, bool]] = []
    code = (
        "import sys, time; print('1 2', flush=True); print('noise', file=sys.stderr); "
        "time.sleep(0.2); print('2 2')"
    )
    process = start_isolated(
        _python(code),
        timeout_s=20,
        name="tool",
        listen=lambda line: heard.append((line, process._child.poll() is None)),
    )
    assert process.wait() == "noise\n"
    assert [line for line, _ in heard] == ["1 2", "2 2"]
    assert heard[0][1], "the first line came when the child had ended"


def test_a_listened_child_that_hangs_is_killed() -> None:
    code = "import sys, time; print('why', file=sys.stderr, flush=True); time.sleep(60)"
    start = time.monotonic()
    with pytest.raises(IsolatedToolError, match=r"tool took longer than 0.5 s"):
        start_isolated(_python(code), timeout_s=0.5, name="tool", listen=lambda _: None).wait()
    assert time.monotonic() - start < 15


def test_an_error_while_listening_kills_the_child() -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    code = "import time; print('1 2', flush=True); time.sleep(60)"
    process = start_isolated(_python(code), timeout_s=60, name="tool", listen=stop)
    with pytest.raises(KeyboardInterrupt):
        process.wait()
    assert process._child.returncode == -9


def test_runs_where_it_is_told(tmp_path: Path) -> None:
    process = start_isolated(
        _python("import os; print(os.getcwd())"), timeout_s=20, name="tool", folder=tmp_path
    )
    assert Path(process.wait().strip()).samefile(tmp_path)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(IsolatedToolError, match="tool cannot be started"):
        run_isolated(["/nonexistent/tool"], timeout_s=5, name="tool")


def _require_ended(pid: int) -> None:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        # An orphan that nobody reaps stays as a zombie, which is ended as well.
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still running")


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("print('done')", Ending(0, late=False, said="done\n")),
        ("print('bad'); exit(3)", Ending(3, late=False, said="bad\n")),
        ("import os; os.kill(os.getpid(), 11)", Ending(-11, late=False, said="")),
    ],
)
def test_an_ending_is_told_whatever_it_is(code: str, ending: Ending) -> None:
    assert start_isolated(_python(code), timeout_s=20, name="tool").ending() == ending


def test_the_ending_of_a_hung_child_is_late() -> None:
    child = start_isolated(_python("import time; time.sleep(60)"), timeout_s=0.2, name="tool")
    assert child.ending().late
