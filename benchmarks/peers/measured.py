"""Run one command and record its seconds and peak memory; a program that imports nothing else.

    python -I measured.py RECORD.json LIMIT_S COMMAND [ARGUMENT ...]

It stands between the benchmark and the command because a process starts with the peak of whoever
started it: started by the benchmark itself, a small tool would have the benchmark's memory. The
command is ended with all that it started when its time is up.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_UNIT = 1 if sys.platform == "darwin" else 1024


def measure(argv: list[str], limit_s: float) -> dict[str, Any]:
    """Run ``argv`` and return its exit code, whether it was late, its seconds and its peak."""
    started_ns = time.monotonic_ns()
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
    late = threading.Event()
    timer = threading.Timer(limit_s, _stop, [child.pid, late])
    timer.daemon = True
    timer.start()
    try:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    finally:
        timer.cancel()
        _kill_group(child.pid)
    return {
        "code": child.returncode,
        "late": late.is_set(),
        "seconds": (time.monotonic_ns() - started_ns) / 1e9,
        "peak_bytes": usage.ru_maxrss * _UNIT,
    }


def _stop(pid: int, late: threading.Event) -> None:
    late.set()
    _kill_group(pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    record, limit, *command = sys.argv[1:]
    found = measure(command, float(limit))
    Path(record).write_text(json.dumps(found), encoding="utf-8")
