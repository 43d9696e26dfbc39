"""What the options of a build ask of tuning, before any process is started for it."""

from __future__ import annotations

import math
from pathlib import Path

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.targets import device_for, why_not_run
from bmopt.backends.tvm.tuning.database import default_folder, require_ours
from bmopt.core.engine import BuildOptions
from bmopt.core.host import host_facts
from bmopt.core.target import Target
from bmopt.core.tuning_budget import TuningBudget
from bmopt.errors import UsageError

TRIAL_S = 30
"""Seconds that a trial may take."""

_STARTING_S = 900.0


def tuning_limit_s(target: Target, options: BuildOptions) -> float:
    """Return the seconds that tuning may take at most, having checked what is asked.

    Raises:
        DatabaseError: The tuning database is none, or of another version.
        OutputError: It cannot be written.
        UsageError: The budget is not understood, or there is no place to measure.
    """
    if folder := database_folder(options):
        require_ours(Path(folder), probe.version())
    if not options.tune:
        return 0.0
    budget = TuningBudget.parse(options.tune)
    host = host_facts(query_gpus=str)
    reason = why_not_run(target.device, device_for(target.device, host), host)
    if reason and not options.board:
        raise UsageError(f"tune: kernels of {target} cannot be measured here: {reason}; "
                         "name a board with --remote or --tracker")  # fmt: skip
    spent = budget.seconds if math.isinf(budget.trials) else budget.trials * 2 * TRIAL_S
    return _STARTING_S + spent


def database_folder(options: BuildOptions) -> str:
    """Return the folder of tuned schedules, empty where none is to be looked at."""
    if options.tuning_database or not options.tune:
        return options.tuning_database and str(Path(options.tuning_database).absolute())
    return str(default_folder(probe.version()))
