"""A small trained model and its labelled samples, for ``bmopt demo``.

A CNN for scikit-learn's handwritten digits (Alpaydin and Kaynak, Optical Recognition of
Handwritten Digits, UCI Machine Learning Repository, CC BY 4.0), enlarged to 16x16 pixels.
``scripts/train_demo.py`` makes all files here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class DemoFiles:
    """Paths of the demo: the model, calibration samples, and other samples to validate on."""

    model: Path
    calib: Path
    val: Path


def demo_files() -> DemoFiles:
    """Return where the demo's files lie; the samples have their preprocessing beside them."""
    folder = Path(__file__).resolve().parent
    return DemoFiles(
        model=folder / "digits.onnx",
        calib=folder / "digits_calib.npz",
        val=folder / "digits_val.npz",
    )
