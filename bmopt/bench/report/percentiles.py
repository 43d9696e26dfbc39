"""Percentiles of latencies, printed only where enough queries ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bmopt.bench.early_stopping import percentile
from bmopt.bench.quantities import time_text
from bmopt.bench.report.markup import Child, Markup, element, table

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def percentile_table(
    head: str, rows: Sequence[tuple[str, npt.NDArray[np.int64]]], caption: str
) -> Markup:
    """Return a row of percentiles for every label and its latencies in nanoseconds."""
    cells = [
        (
            label,
            str(samples.size),
            *(percentile_cell(samples, quantile) for quantile in QUANTILES.values()),
            time_text(float(samples.max())),
        )
        for label, samples in rows
        if samples.size
    ]
    return table(
        (head, "queries", *QUANTILES, "slowest"), cells, numbers=range(1, 7), caption=caption
    )


def percentile_cell(samples: npt.NDArray[np.int64], quantile: float) -> Child:
    """Return a percentile with its bound as a hint, or how many queries it needs."""
    found = percentile(samples, quantile)
    if found.value is not None:
        hint = f"at most {time_text(found.upper)} with 99 % confidence"
        return element("span", time_text(found.value), title=hint)
    text = f"needs {found.needed}, {found.ran} ran"
    return element("span", text, class_="missing")
