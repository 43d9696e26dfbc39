from __future__ import annotations

import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from bmopt.bench.output_spool import OutputSpool
from bmopt.errors import OutputError


def test_outputs_come_back_as_they_were() -> None:
    generator = np.random.default_rng(3)
    batches = [
        {
            "f": generator.normal(size=(size, 3)).astype(np.float32),
            "half": generator.normal(size=(size, 2)).astype(ml_dtypes.bfloat16),
            "turned": generator.normal(size=(4, size)).T,
            "flag": generator.random(size) < 0.5,
            "scalar": np.array(2.5),
            "none": np.empty((0, size), np.int64),
            "text": np.array(["a", "later"] * size, dtype=object),
        }
        for size in (4, 4, 1)
    ]
    with OutputSpool() as spool:
        for batch in batches:
            spool.add(batch)
        assert len(spool) == 3
        assert spool.size_bytes > 0
        for number in (2, 0, 1, 0):
            found = spool.read(number)
            assert list(found) == list(batches[number])
            for name, array in batches[number].items():
                assert found[name].shape == array.shape
                np.testing.assert_array_equal(found[name], array)
        spool.add(batches[0])
        np.testing.assert_array_equal(spool.read(3)["f"], batches[0]["f"])


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with OutputSpool() as spool:
        spool.add({"y": np.ones(1000)})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="closed file"):
        spool.read(0)


def test_a_disk_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with pytest.raises(
        OutputError, match=r"cannot keep the source model's outputs on disk .*TMPDIR"
    ):
        OutputSpool()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_named() -> None:
    with OutputSpool() as spool:
        spool._file.close()
        spool._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
        with pytest.raises(OutputError, match=r"No space left on device\); point TMPDIR at"):
            spool.add({"y": np.ones(100_000)})
