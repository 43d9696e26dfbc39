"""Run the tests that need a GPU, unattended, and keep what they found out.

    python scripts/gpu_tests.py FACTS.jsonl [--budget SECONDS] [--test-timeout SECONDS] [PATHS]

A test that hangs or takes the process with it costs itself only: what was left of its file runs
in a new process. FACTS.jsonl has a line per test as it ends, with everything that it recorded; a
run whose file exists leaves out the tests that are in it.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "gpu")
_ROOT = Path(__file__).resolve().parents[1]
_START_S = 60.0
"""What a process may take to import everything and to collect."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests; return 1 where one failed or died."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("facts", type=Path)
    parser.add_argument("paths", nargs="*", default=["tests"])
    parser.add_argument("--budget", type=float, default=1500.0, help="seconds for all tests")
    parser.add_argument("--test-timeout", type=float, default=240.0, help="seconds for one test")
    given = parser.parse_intermixed_args(arguments)
    facts = given.facts.absolute()
    deadline = time.monotonic() + given.budget
    for file, tests in _by_file(_collected(given.paths)).items():
        _run_file(file, tests, facts, given.test_timeout, deadline)
    return _report(facts)


def _collected(paths: Sequence[str]) -> list[str]:
    argv = [*_PYTEST, "--collect-only", *paths]
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, check=False)
    tests = [line for line in done.stdout.splitlines() if "::" in line]
    if not tests:
        raise SystemExit(f"no tests collected:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return tests


def _by_file(tests: Sequence[str]) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for test in tests:
        files.setdefault(test.partition("::")[0], []).append(test)
    return files


def _run_file(
    file: str, tests: Sequence[str], facts: Path, timeout_s: float, deadline: float
) -> None:
    left = [test for test in tests if test not in _ended(facts)]
    while left:
        print(f"{file}: {len(left)} tests", flush=True)
        end = _run(left, facts, timeout_s, deadline)
        ended = _ended(facts)
        rest = [test for test in left if test not in ended]
        if rest:
            # Tests run in this order, so the first without an outcome is the one it died in.
            _note(facts, rest[0], "died" if time.monotonic() < deadline else "left out", end)
        left = rest[1:]


def _run(tests: Sequence[str], facts: Path, timeout_s: float, deadline: float) -> str:
    """Run tests in one process; return how it ended."""
    limit_s = min(_START_S + timeout_s * len(tests), deadline - time.monotonic())
    if limit_s <= 0:
        return "no time was left"
    options = ("--facts", str(facts), "--timeout", str(timeout_s), "--timeout-method", "thread")
    child = subprocess.Popen(
        [*_PYTEST, *options, *tests],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        said, _ = child.communicate(timeout=limit_s)
        end = f"exit code {child.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        said, _ = child.communicate()
        end = f"killed after {limit_s:.0f} s"
    return f"{end}: {said[-2000:]}"


def _entries(facts: Path) -> list[dict[str, Any]]:
    if not facts.exists():
        return []
    return [json.loads(line) for line in facts.read_text(encoding="utf-8").splitlines()]


def _ended(facts: Path) -> set[str]:
    return {entry["test"] for entry in _entries(facts) if entry["outcome"] != "started"}


def _note(facts: Path, test: str, outcome: str, reason: str) -> None:
    with facts.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"test": test, "outcome": outcome, "reason": reason}) + "\n")


def _report(facts: Path) -> int:
    last = {entry["test"]: entry for entry in _entries(facts) if entry["outcome"] != "started"}
    for test, entry in last.items():
        print(f"{entry['outcome']:9}{test}  {entry.get('seconds', '')}")
        for name, value in entry.get("properties", {}).items():
            print(f"           {name} = {value}")
        if entry["outcome"] != "passed":
            print(f"           {' '.join(entry['reason'].split())[-600:]}")
    counts = collections.Counter(entry["outcome"] for entry in last.values())
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    return 1 if counts["failed"] or counts["died"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
