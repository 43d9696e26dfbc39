from __future__ import annotations

from bmopt.bench.layer_table import KernelTime, LayerRow, LayerTable
from bmopt.bench.layer_times import layer_times
from bmopt.bench.peaks import Bandwidth, Peaks
from bmopt.bench.roofline import roofline
from bmopt.graph.work import Work

PEAKS = Peaks(1, 1e9, "a", 4e9, "b", Bandwidth(1, 1e9, 2e9), Bandwidth(9, 1e8, 1e8))


def test_what_the_report_shows() -> None:
    kernels = (KernelTime("k", "Conv", "float", 30_000.0),)
    rows = (
        LayerRow(("conv", "relu"), ("Conv", "Relu"), kernels, Work(10_000, 1_000, 500)),
        LayerRow(("odd",), ("Odd",), kernels, Work(None, None, None)),
    )
    lost = (KernelTime("?", "Copy", "", 10_000.0),)
    table = LayerTable("scripted", 1, rows, lost, 100_000.0, 150_000.0, 0.0, 5)
    found = layer_times(roofline(table, PEAKS), "a.onnx")
    first, second, third = found.rows
    assert (first.nodes, first.op, first.dtype) == (("conv", "relu"), "Conv+Relu", "float")
    assert (first.bound, first.gain_ns, first.share) == ("compute", 10_000.0, 0.3)
    assert (first.macs, first.bytes) == (10_000, 1_500)
    assert (second.bound, second.gain_ns, second.macs) == ("", None, None)
    assert (third.nodes, third.op, third.ns) == ((), "Copy", 10_000.0)
    assert found.unattributed_ns == 30_000.0
    assert found.peak_macs_per_s == {"float32": 5e8, "int8": 2e9}
    assert found.peak_bytes_per_s == 2e9
