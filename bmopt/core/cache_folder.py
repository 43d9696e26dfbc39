"""Where results that can be made again are kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return ``BMOPT_CACHE_DIR``, or ``bmopt`` in the user's cache folder."""
    if own := os.environ.get("BMOPT_CACHE_DIR"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        try:
            base = str(Path.home() / ".cache")
        except RuntimeError:  # a user without a home, as containers have them
            base = tempfile.gettempdir()
    return Path(base) / "bmopt"
