"""What holds for every test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: a red test is a change of the code, not of the dice.
settings.register_profile("bmopt", derandomize=True, deadline=None)
settings.load_profile("bmopt")

_FACTS = "--facts"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        _FACTS, metavar="FILE", help="append each test's outcome and properties, as JSON lines"
    )


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption(_FACTS)
    if path:
        config.pluginmanager.register(Facts(Path(path)), "facts")


class Facts:
    """Writes at once, so that what was found out outlives a process that dies or hangs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write({"test": nodeid, "outcome": "started"})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        self._write(
            {
                "test": report.nodeid,
                "outcome": report.outcome,
                "seconds": round(report.duration, 2),
                "reason": str(reason)[-2000:],
                "properties": dict(report.user_properties),
            }
        )

    def _write(self, entry: dict[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, default=str) + "\n")
