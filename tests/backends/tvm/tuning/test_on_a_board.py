from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmopt.backends.tvm.builder import TvmBuilder
from bmopt.backends.tvm.tuning.database import RECORDS
from bmopt.core.engine import BuildOptions, EngineBuild
from bmopt.core.target import Target
from bmopt.errors import BoardError
from tests.backends.tvm.board_server import Server, serving
from tests.backends.tvm.installed import RESIDUAL, model_of, needs_tvm, saved

pytestmark = needs_tvm


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as running:
        yield running


def tuned(folder: Path, server: Server, tune: str, progress: Any = None) -> EngineBuild:
    """Tune a small network on a server."""
    options = BuildOptions(
        tune=tune, tuning_database=str(folder / "db"), board=str(server.board())
    )
    path = saved(model_of(RESIDUAL), folder)
    out = folder / "model.so"
    return TvmBuilder().build(path, out, Target.parse("tvm-fp32:host"), options, progress)


def trials(folder: Path) -> int:
    return len((folder / "db" / RECORDS).read_text().splitlines())


def test_kernels_are_measured_there(server: Server, tmp_path: Path) -> None:
    done = tuned(tmp_path, server, "3")
    assert "kernels tuned in 3 trials; " in done.tuning
    assert trials(tmp_path) == 3
    # The server lives on, and the next run goes on from there.
    tuned(tmp_path, server, "4")
    assert trials(tmp_path) == 4


def test_what_is_finished_is_kept_where_a_board_drops_off(server: Server, tmp_path: Path) -> None:
    def cut(done: int, total: int) -> None:
        if total == 1000 and done >= 20:
            server.kill()

    with pytest.raises(BoardError, match=r"trials are kept, run again to go on") as caught:
        tuned(tmp_path, server, "100", cut)
    assert "\n" not in str(caught.value)
    assert 2 <= trials(tmp_path) < 20
