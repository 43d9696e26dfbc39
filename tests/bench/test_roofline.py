from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.attribution import attribute
from bmopt.bench.layer_table import KernelTime, LayerRow, LayerTable
from bmopt.bench.peaks import Bandwidth, Peaks
from bmopt.bench.roofline import FAR, SHORT_NS, Roofline, roofline, working_set_bytes
from bmopt.graph.work import Work
from tests.bench.profiles import layer, profile
from tests.quantizing import CONV_NET, named

# One float operation and one byte take a nanosecond, an 8-bit operation a quarter of that.
PEAKS = Peaks(
    threads=1,
    float32=1e9,
    float32_isa="scripted",
    int8=4e9,
    int8_isa="scripted",
    working_set=Bandwidth(1 << 20, read=0.5e9, copy=1e9),
    memory=Bandwidth(1 << 30, read=1e8, copy=1e8),
)


def under_the_roof(*layers: tuple[float, Work, str]) -> Roofline:
    rows = tuple(
        LayerRow((f"n{i}",), ("Conv",), (KernelTime(f"k{i}", "Conv", dtype, ns),), work)
        for i, (ns, work, dtype) in enumerate(layers)
    )
    total = sum(ns for ns, _, _ in layers)
    return roofline(LayerTable("scripted", 1, rows, (), total, total, 0.0, 1), PEAKS)


@pytest.mark.parametrize(
    ("ns", "work", "dtype", "bound", "gain"),
    [
        (30_000, Work(10_000, 1000, 1000), "float", "compute", 10_000),
        (30_000, Work(10_000, 1000, 1000), "uint8", "compute", 25_000),
        (30_000, Work(1_000, 9_000, 9_000), "float", "memory", 12_000),
        (30_000, Work(0, 9_000, 9_000), "int64", "memory", 12_000),
        # Faster than the ceiling: a nearer cache than the one that was measured.
        (5_000, Work(0, 9_000, 9_000), "float", "memory", 0),
        (5_000, Work(100, 100, 100), "float", "overhead", 4_800),
        (0, Work(100, 100, 100), "float", "compute", 0),
        (500, Work(0, 0, 0), "float", "overhead", 500),
        # Far from both ceilings, but too long for it to be what every layer costs.
        (90_000, Work(100, 10, 10), "float", "compute", 89_800),
        (90_000, Work(None, 10, 10), "float", "unknown", None),
        (90_000, Work(0, None, 10), "float", "unknown", None),
        (90_000, Work(100, 10, 10), "int64", "unknown", None),
    ],
)
def test_what_bounds_a_layer(
    ns: float, work: Work, dtype: str, bound: str, gain: float | None
) -> None:
    (row,) = under_the_roof((ns, work, dtype)).rows
    assert row.bound == bound
    assert row.gain_ns == gain


def test_intensity_is_operations_per_byte() -> None:
    (row,) = under_the_roof((1.0, Work(300, 100, 100), "float")).rows
    assert row.intensity == 3.0
    assert under_the_roof((1.0, Work(0, 0, 0), "float")).rows[0].intensity is None


works = st.builds(
    Work,
    st.none() | st.integers(0, 10**6),
    st.none() | st.integers(0, 10**6),
    st.none() | st.integers(0, 10**6),
)
layers = st.tuples(st.floats(0, 1e9), works, st.sampled_from(["float", "uint8", "int64", ""]))


@given(st.lists(layers, max_size=6))
def test_sums_hold(found: list[tuple[float, Work, str]]) -> None:
    model = under_the_roof(*found)
    total = sum(ns for ns, _, _ in found)
    assert sum(part.ns for part in model.summary().values()) == pytest.approx(total)
    assert sum(part.layers for part in model.summary().values()) == len(found)
    assert model.gain_ns == pytest.approx(sum(part.gain_ns for part in model.summary().values()))
    assert model.attainable_ns + model.gain_ns == pytest.approx(total)
    assert json.loads(json.dumps(model.to_dict()))["gain_ns"] == model.gain_ns


@given(layers)
def test_overhead_is_short_and_far(found: tuple[float, Work, str]) -> None:
    (row,) = under_the_roof(found).rows
    least = row.attainable_ns
    if row.bound == "overhead" and least:
        assert FAR * least < row.layer.ns < SHORT_NS
    if row.bound == "unknown":
        assert least is None


def test_the_working_set_is_what_an_inference_reads() -> None:
    found = under_the_roof((1.0, Work(0, 100, 5), "float"), (1.0, Work(0, None, 5), "float"))
    assert working_set_bytes(found.table) == 100


def test_a_profile_under_the_roof() -> None:
    table = attribute(
        profile(layer("k1", 300_000.0, "c1", "r1"), layer("k2", 2_000.0, "f", op="Flatten")),
        named(CONV_NET),
    )
    found = roofline(table, PEAKS)
    assert [row.bound for row in found.rows] == ["compute", "overhead"]
    document = found.to_dict()
    assert document["rows"][0]["attainable_ns"] == 2 * 100 * 16 * 72
    assert document["bounds"]["overhead"] == {"layers": 1, "ns": 2000.0, "gain_ns": 2000.0}
    assert document["peaks"]["working_set"]["copy"] == 1e9
