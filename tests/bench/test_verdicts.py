"""The verdicts on simulated hosts, through the benchmark that counts them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "verdicts.py"


def run(out: Path, *options: str) -> tuple[int, list[dict[str, object]]]:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--simulated", *options, "--json", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.exists(), done.stderr
    return done.returncode, json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.parametrize("host", ["bursts", "all at once"])
def test_verdicts_are_right_on_a_host_that_is_not_quiet(tmp_path: Path, host: str) -> None:
    code, rows = run(tmp_path / "rows.json", "--runs", "20", "--only", host)
    assert code == 0
    assert {row["truth"] for row in rows} == {"same", "+3 %"}
    assert all(row["met"] for row in rows)


def test_out_of_time_is_undecided_and_misses_the_target(tmp_path: Path) -> None:
    code, rows = run(
        tmp_path / "rows.json", "--runs", "3", "--only", "quiet", "--duration", "0.04"
    )
    assert code == 1
    assert [row["verdicts"] for row in rows] == [{"undecided": 3}] * 2
