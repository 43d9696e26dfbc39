"""Recording without a child process, whose start takes most of a search of few nodes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bmopt.workflow import recorder


def record_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the recorder's program run as a function, with the arguments of its command line."""

    def run(argv: Sequence[str], *, timeout_s: float, name: str) -> str:
        assert argv[1:3] == ["-m", recorder.__name__]
        assert timeout_s >= 60.0, name
        return str(recorder.main(argv[3:]))

    monkeypatch.setattr(recorder, "run_isolated", run)
