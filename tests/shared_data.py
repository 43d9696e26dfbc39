"""Where the shared models and data lie beside a checkout; absent on a fresh clone elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest


def shared_dir() -> Path | None:
    """Return ``../shared/data`` beside the checkout, or None."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    return path if path.is_dir() else None


needs_shared = pytest.mark.skipif(
    shared_dir() is None, reason="the shared models and data are not beside this checkout"
)
