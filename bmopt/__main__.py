"""``python -m bmopt``."""

from __future__ import annotations

from bmopt.cli.main import entry

if __name__ == "__main__":
    entry()
