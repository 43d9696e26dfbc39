"""Start onnxsim on a file before anything heavy is imported here, and collect its result later."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import TracebackType

from bmopt.core.isolate import start_isolated
from bmopt.errors import IsolatedToolError

MAX_FOLDED_BYTES = 1 << 14
"""Constants bigger than this are not folded by onnxsim; ``fold-constants`` weighs those."""

TIMEOUT_S = 600.0

_WORKER = Path(__file__).with_name("onnxsim_worker.py")


class OnnxsimRun:
    """onnxsim at work on one file, in a child process. A context manager: leave it to clean up.

    Attributes:
        source: The file given to onnxsim.
    """

    def __init__(
        self,
        source: Path,
        *,
        max_folded_bytes: int = MAX_FOLDED_BYTES,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.source = source
        self._folder = tempfile.TemporaryDirectory(prefix="bmopt-onnxsim-")
        self._output = Path(self._folder.name) / "model.onnx"
        self._failure: str | None = None
        self._waited = False
        argv = [sys.executable, str(_WORKER), str(source), str(self._output)]
        argv.append(str(max_folded_bytes))
        self._process = start_isolated(argv, timeout_s=timeout_s, name="onnxsim")

    def result(self) -> Path:
        """Wait for the simplified file; it is there until the run is closed.

        Raises:
            IsolatedToolError: onnxsim failed, died, hung, or wrote nothing.
        """
        if not self._waited:
            self._waited = True
            self._failure = self._wait()
        if self._failure is not None:
            raise IsolatedToolError(self._failure)
        return self._output

    def close(self) -> None:
        """End onnxsim if it still runs, and remove its files."""
        self._process.kill()
        self._folder.cleanup()

    def __enter__(self) -> OnnxsimRun:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wait(self) -> str | None:
        try:
            self._process.wait()
        except IsolatedToolError as error:
            return str(error)
        return None if self._output.is_file() else "onnxsim wrote no result"


def start_onnxsim(
    path: Path, *, max_folded_bytes: int = MAX_FOLDED_BYTES, timeout_s: float = TIMEOUT_S
) -> OnnxsimRun:
    """Start onnxsim on the file ``path`` and return at once.

    Raises:
        IsolatedToolError: No process can be started.
    """
    return OnnxsimRun(path, max_folded_bytes=max_folded_bytes, timeout_s=timeout_s)
