from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmopt.calibration.sequence import blas
from bmopt.calibration.sequence.blas import threads_for


def counts() -> list[int]:
    return [get() for get, _ in blas._settings()]


@pytest.fixture
def two_threads() -> None:
    if not blas._settings():
        pytest.skip("this NumPy has no OpenBLAS, or it cannot be found here")
    for _, put in blas._settings():
        put(2)


@pytest.mark.usefixtures("two_threads")
def test_small_matrices_have_one_thread_and_large_ones_all() -> None:
    usual = counts()
    with threads_for(100):
        assert set(counts()) == {1}
        with threads_for(1 << 20):
            assert set(counts()) == {1}, "it is not raised inside"
    assert counts() == usual
    with threads_for(1 << 20):
        assert counts() == usual


@pytest.mark.usefixtures("two_threads")
def test_the_usual_threads_come_back_after_an_error() -> None:
    usual = counts()
    with pytest.raises(ValueError, match="shapes"), threads_for(1):
        np.zeros(3) + np.zeros(4)
    assert counts() == usual


def test_nothing_happens_where_there_is_no_such_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blas._settings.cache_clear()
    for text in (None, "7f00-7f01 r-xp 0 08:01 1 /lib/libopenblas-gone.so\nrubbish\n"):
        maps = tmp_path / "maps"
        if text is not None:
            maps.write_text(text)
        monkeypatch.setattr(blas, "_MAPPINGS", maps)
        with threads_for(1):
            assert blas._settings() == ()
        blas._settings.cache_clear()
