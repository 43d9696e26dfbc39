"""What an SDK's logger says, kept instead of printed."""

from __future__ import annotations

import ctypes
import types

from bmopt.backends.nvinfer.native import Native

_ERRORS = ("ERROR", "INTERNAL_ERROR")
_LONGEST = 300
_MOST = 16


class SdkLog:
    """The errors of an SDK since the last ``clear``."""

    def __init__(self) -> None:
        self._errors: list[str] = []

    def add(self, severity: str, message: str) -> None:
        """Take a message of the SDK's."""
        if severity in _ERRORS and len(self._errors) < _MOST:
            self._errors.append(" ".join(message.split()))

    def clear(self) -> None:
        """Forget what was said."""
        self._errors.clear()

    @property
    def cause(self) -> str:
        """The first error, in one line: those that follow tell where it was caught."""
        return self._errors[0][:_LONGEST] if self._errors else ""

    def because(self) -> str:
        """Return `` (cause)``, or nothing."""
        return f" ({self.cause})" if self.cause else ""


def sdk_logger(sdk: Native, log: SdkLog) -> Native:
    """Return an ``ILogger`` of ``sdk`` that writes to ``log``, and lives as long as the process.

    The SDK's global logger is the first one that it was given, and it is used after the runtime
    that it was given with is gone.
    """

    def start(self: Native) -> None:
        sdk.ILogger.__init__(self)

    def take(_: Native, severity: Native, message: str) -> None:
        log.add(severity.name, message)

    # The base is only known once the SDK is loaded.
    members = {"__init__": start, "log": take}
    logger = types.new_class("Logger", (sdk.ILogger,), {}, lambda body: body.update(members))()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(logger))
    return logger
