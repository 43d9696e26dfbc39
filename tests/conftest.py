"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# The same examples in every run: a red test is a change of the code, not of the dice.
settings.register_profile("bmopt", derandomize=True, deadline=None)
settings.load_profile("bmopt")
