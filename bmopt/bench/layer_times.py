"""The roofline as the report's document has it."""

from __future__ import annotations

from bmopt.bench.roofline import Roofline, RooflineRow
from bmopt.core.bench_document import LayerRow, LayerTimes


def layer_times(found: Roofline, subject: str) -> LayerTimes:
    """Return the layers of ``subject`` for the report; kernels of no known node are rows too."""
    table, peaks = found.table, found.peaks
    lost = tuple(
        LayerRow(
            (),
            kernel.op,
            kernel.ns,
            table.share(kernel.ns),
            dtype=kernel.dtype,
            schedule=kernel.schedule,
        )
        for kernel in table.unmatched
    )
    return LayerTimes(
        subject=subject,
        rows=(*(_row(row, found) for row in found.rows), *lost),
        unattributed_ns=table.outside_ns,
        peak_macs_per_s={"float32": peaks.float32 / 2, "int8": peaks.int8 / 2},
        peak_bytes_per_s=peaks.working_set.best,
    )


def _row(row: RooflineRow, found: Roofline) -> LayerRow:
    layer = row.layer
    return LayerRow(
        nodes=layer.nodes,
        op=layer.op,
        ns=layer.ns,
        share=found.table.share(layer.ns),
        macs=layer.work.macs,
        bytes=layer.work.bytes,
        bound="" if row.bound == "unknown" else row.bound,
        gain_ns=row.gain_ns,
        dtype=layer.dtype,
        schedule=layer.schedule,
    )
