"""Keep calibration and validation apart."""

from __future__ import annotations

from bmopt.core.dataset import Dataset
from bmopt.errors import DataError


def require_distinct(calib: Dataset, val: Dataset) -> None:
    """Raise ``DataError`` where validation would use the samples that calibration has seen.

    Data sets are the same where the stored arrays or images are, whatever is done to them and
    however many are taken; random ones where their seeds are.
    """
    if _content(calib) == _content(val):
        raise DataError(
            f"calibration and validation use the same samples ({calib.name}, {val.name}); "
            "validate on samples that calibration has not seen"
        )


def _content(dataset: Dataset) -> str:
    # A data set of the user's own need not tell its content from what is done to it.
    content = getattr(dataset, "content", dataset.fingerprint)
    return str(content)
