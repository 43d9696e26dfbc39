"""The errors a user can meet, and the exit code each one ends a command with.

A message says what is wrong, where, and what to do next, in one line. Anything that is not a
``BmoptError`` is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar


class BmoptError(Exception):
    """Base of every error that bmopt raises on purpose."""

    exit_code: ClassVar[int] = 2


class UsageError(BmoptError):
    """An option or argument that makes no sense."""


class ModelError(BmoptError):
    """A model file that cannot be read, is invalid, or is not supported."""


class KernelError(ModelError):
    """A valid model with an op that the engine has no kernel for."""


class DataError(BmoptError):
    """Samples that are missing, empty, misnamed, misshapen or not finite."""


class TargetError(BmoptError):
    """A target that does not exist or cannot be compiled here."""


class PassError(BmoptError):
    """A pass that does not exist, has bad options, or broke the model."""


class CalibrationError(BmoptError):
    """Calibration that found nothing usable, or a table that belongs to another model."""


class QuantizationError(BmoptError):
    """A model that cannot be quantised as asked."""


class PruningError(BmoptError):
    """Channels or weights that cannot be cut as asked, or a plan for another model."""


class TrainingError(BmoptError):
    """Training that came to nothing."""


class ArtifactError(BmoptError):
    """An artifact folder that is missing, incomplete or damaged."""


class OutputError(BmoptError):
    """An output path that cannot be written."""


class IsolatedToolError(BmoptError):
    """A third-party tool that died, hung or failed in its own process."""


class BuildError(BmoptError):
    """An engine that refuses the model or its build options."""


class BoardError(BmoptError):
    """A board that cannot be reached, refuses, or dropped off."""


class DatabaseError(BmoptError):
    """A tuning database that is damaged, none of ours, or of another version."""


class HostError(BmoptError):
    """This host cannot run the artifact."""

    exit_code: ClassVar[int] = 6


class BundleError(BmoptError):
    """A bundle that is missing, malformed or cannot be written as asked."""


class TrustError(BmoptError):
    """A bundle whose checksums or signature do not match its files."""

    exit_code: ClassVar[int] = 5


class GoldenError(BmoptError):
    """A model that does not answer as it did when it was packed."""

    exit_code: ClassVar[int] = 7
