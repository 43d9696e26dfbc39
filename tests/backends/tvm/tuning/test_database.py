from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bmopt.backends.tvm.tuning.database import MARKER, RECORDS, Database, Record
from bmopt.backends.tvm.tuning.timing import Comparison
from bmopt.errors import DatabaseError

IDENTITY: dict[str, Any] = {"target": {"kind": "llvm", "num-cores": 2}, "place": "here"}


def opened(folder: Path, version: str = "1.0", **changes: object) -> Database:
    return Database(folder, version, {**IDENTITY, **changes})


def trial(ratio: float, *, key: str = "k", noise: float = 0.01, columns: int = 8) -> Record:
    found = Comparison(ratio, ratio - noise, ratio + noise, 10.0, 40)
    return Record(key, {"tile": (1, columns, 2), "unroll": 2}, 0.5, 1, found)


def test_what_one_run_kept_the_next_one_finds(tmp_path: Path) -> None:
    first = opened(tmp_path / "db")
    first.append(trial(0.9))
    first.append(Record("k", {"unroll": 4}, 1.0, 1, None, "it crashed"))
    assert opened(tmp_path / "db").of("k") == first.of("k")
    assert opened(tmp_path / "db").chosen("k") == {"tile": (1, 8, 2), "unroll": 2}


def test_the_best_beats_the_default_by_more_than_the_noise(tmp_path: Path) -> None:
    database = opened(tmp_path / "db")
    database.append(trial(0.8, noise=0.3, columns=4))
    database.append(trial(0.985, noise=0.01, columns=5))
    assert database.chosen("k") == {}
    database.append(trial(0.95, columns=6))
    database.append(trial(0.93, columns=7))
    database.append(trial(0.94, columns=9))
    assert database.chosen("k")["tile"] == (1, 7, 2)


@pytest.mark.parametrize("change", [{"place": "there"}, {"target": {"kind": "llvm"}}])
def test_trials_of_another_target_or_place_are_not_taken(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    opened(tmp_path).append(trial(0.5))
    assert opened(tmp_path, **change).of("k") == []


def test_a_line_that_a_killed_run_left_unfinished_costs_that_line_only(tmp_path: Path) -> None:
    database = opened(tmp_path)
    database.append(trial(0.9, columns=3))
    whole = (tmp_path / RECORDS).read_bytes()
    (tmp_path / RECORDS).write_bytes(whole + whole[:40])
    again = opened(tmp_path)
    assert len(again.of("k")) == 1
    again.append(trial(0.8, columns=4))
    assert [one.schedule["tile"] for one in opened(tmp_path).of("k")] == [(1, 3, 2), (1, 4, 2)]


def test_two_runs_may_append_at_once(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.append(trial(0.9, columns=3))
    other.append(trial(0.8, columns=4))
    assert len(opened(tmp_path).of("k")) == 2


def test_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    opened(tmp_path).append(trial(0.9))
    with pytest.raises(DatabaseError, match=r"is a tuning database of TVM 1\.0") as caught:
        opened(tmp_path, "2.0")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tvm": "1.0"}', "\x00\xff"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text, encoding="latin-1")
    with pytest.raises(DatabaseError, match="is no tuning database"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("mine")
    with pytest.raises(DatabaseError, match="is no tuning database"):
        opened(tmp_path / "db")


def test_lines_that_are_no_trials_are_skipped(tmp_path: Path) -> None:
    database = opened(tmp_path)
    database.append(trial(0.9))
    line = json.loads((tmp_path / RECORDS).read_text())
    odd = [{**line, "schedule": 3}, {**line, "found": {"ratio": 1}}, {**line, "more": 1}, 7, "x"]
    with (tmp_path / RECORDS).open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in odd)
    assert len(opened(tmp_path).of("k")) == 1
