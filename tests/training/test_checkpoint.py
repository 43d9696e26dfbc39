from __future__ import annotations

from pathlib import Path

import numpy as np

from bmopt.training.checkpoint import State, load, save

STATE = State({"step": 3, "stopped": ""}, {"now/w:1": np.arange(6.0).reshape(2, 3)})


def test_it_comes_back_for_its_own_run_only(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save(path, "mine", STATE)
    found = load(path, "mine")
    assert found is not None
    assert found.facts == STATE.facts
    assert (found.arrays["now/w:1"] == STATE.arrays["now/w:1"]).all()
    assert load(path, "other") is None


def test_a_damaged_or_missing_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "c"
    assert load(path, "mine") is None
    save(path, "mine", STATE)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:size])
        assert load(path, "mine") is None
    path.write_bytes(b"no archive" * 50)
    assert load(path, "mine") is None
