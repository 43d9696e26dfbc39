from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.calibration.toggles import toggles_of
from bmopt.core.backend import Reference
from bmopt.core.latency_table import LatencyTable
from bmopt.core.profile import LayerProfile
from bmopt.core.runner import Feeds
from bmopt.core.scheme import FloatRules
from bmopt.workflow.latency_probing import Probing, probe_latencies
from tests.workflow.placing_jobs import small_job


class Counted:
    """The engine, asked for how many profiles."""

    def __init__(self, engine: Reference) -> None:
        self._engine = engine
        self.profiles = 0

    def profile_graph(
        self, path: Path, feeds: list[Feeds], *, threads: int, seconds: float
    ) -> LayerProfile:
        self.profiles += 1
        return self._engine.profile_graph(path, feeds, threads=threads, seconds=seconds)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    job, quantizer = small_job(tmp_path_factory.mktemp("probed"))
    probing = Probing(job.reference, "ort-int8:x86-vnni", job.pool(), 1, 0.4)
    return probe_latencies(quantizer, "minmax", probing)


def test_every_group_and_border_has_its_times(table: LatencyTable) -> None:
    assert list(table.groups) == ["c1", "m1", "c2", "c3", "a", "p", "f", "y"]
    assert list(table.borders) == ["x", "r1", "m1", "c2", "c3", "r2", "p", "f", "y"]
    products = [table.groups[name] for name in ("c1", "c2", "c3", "y")]
    assert all(group.float_ns > 0.0 and group.int_ns > 0.0 for group in products)
    assert table.borders["x"].quantize_ns > 0.0
    assert table.borders["x"].writer == ""
    assert table.borders["y"].read_in_float


def test_all_in_float_is_predicted_to_take_what_the_float_model_takes(
    table: LatencyTable,
) -> None:
    assert table.predicted_ns(table.groups) == pytest.approx(
        sum(group.float_ns for group in table.groups.values()) + table.rest_ns
    )


def test_it_says_of_what_and_where_it_is(table: LatencyTable, tmp_path: Path) -> None:
    _, quantizer = small_job(tmp_path)
    table.require_model(quantizer.table.model)
    assert (table.target, table.threads) == ("ort-int8:x86-vnni", 1)
    assert table.host
    assert LatencyTable.from_json(table.to_json()) == table


def test_without_time_two_placements_are_profiled_and_the_rest_is_estimated(
    tmp_path: Path,
) -> None:
    job, quantizer = small_job(tmp_path)
    counted = Counted(job.reference)
    probing = Probing(counted, "ort-int8:x86-vnni", job.pool(), 1, 1e-6)  # type: ignore[arg-type]
    found = probe_latencies(quantizer, "minmax", probing)
    assert counted.profiles == 2
    everything = quantizer.plan("minmax", FloatRules())
    assert list(found.borders) == list(
        toggles_of(quantizer.model, everything, quantizer.scheme).borders
    )
    assert found.borders["m1"].quantize_ns > 0.0
