"""How far a build is, from the tree of phases that the SDK tells of."""

from __future__ import annotations

import dataclasses
import types
from typing import TextIO

from bmopt.backends.nvinfer.native import Native

TOTAL = 1000
"""Steps that a whole build is told as."""


@dataclasses.dataclass
class _Phase:
    steps: int
    parent: _Phase | None
    done: int = 0
    part: _Phase | None = None

    @property
    def share(self) -> float:
        part = self.part.share if self.part is not None else 0.0
        return min(1.0, (self.done + part) / self.steps)


class PhaseTree:
    """The phases at work. A phase is as far as its own steps and its latest part are.

    The share never falls: within one step a phase may have several parts in turn.
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._root: _Phase | None = None
        self._done = 0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Begin a phase of so many steps, as part of another if ``parent`` names one."""
        above = self._phases.get(parent) if parent is not None else None
        phase = self._phases[name] = _Phase(max(steps, 1), above)
        if above is not None:
            above.part = phase
        elif self._root is None:
            self._root = phase

    def step(self, name: str, index: int) -> None:
        """Finish the step ``index`` of a phase, counted from 0."""
        phase = self._phases.get(name)
        if phase is not None:
            phase.done = max(phase.done, index + 1)
            phase.part = None

    def finish(self, name: str) -> None:
        """End a phase."""
        phase = self._phases.pop(name, None)
        if phase is None:
            return
        if phase is self._root:
            phase.done = phase.steps
        elif phase.parent is not None and phase.parent.part is phase:
            phase.parent.part = None

    @property
    def done(self) -> int:
        """How many of ``TOTAL`` steps are done."""
        if self._root is not None:
            self._done = max(self._done, int(self._root.share * TOTAL))
        return self._done


class ProgressWriter:
    """Writes the share done to a stream as lines ``DONE TOTAL``, whenever it has grown."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tree = PhaseTree()
        self._told = -1
        self._gone = False

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        """Take the begin of a phase."""
        self._tree.start(name, parent, steps)

    def phase_finish(self, name: str) -> None:
        """Take the end of a phase."""
        self._tree.finish(name)
        self._tell()

    def step_complete(self, name: str, index: int) -> bool:
        """Take the end of a step; return whether the build is to go on."""
        self._tree.step(name, index)
        self._tell()
        return not self._gone

    def _tell(self) -> None:
        done = self._tree.done
        if done <= self._told or self._gone:
            return
        self._told = done
        try:
            self._stream.write(f"{done} {TOTAL}\n")
            self._stream.flush()
        except BrokenPipeError:
            # Nobody waits for the engine any more.
            self._gone = True


def monitor(sdk: Native, writer: ProgressWriter) -> Native:
    """Return an ``IProgressMonitor`` of ``sdk`` that tells ``writer``."""

    def start(self: Native) -> None:
        sdk.IProgressMonitor.__init__(self)

    def phase_start(_: Native, name: str, parent: str | None, steps: int) -> None:
        writer.phase_start(name, parent, steps)

    def phase_finish(_: Native, name: str) -> None:
        writer.phase_finish(name)

    def step_complete(_: Native, name: str, index: int) -> bool:
        return writer.step_complete(name, index)

    members = {
        "__init__": start,
        "phase_start": phase_start,
        "phase_finish": phase_finish,
        "step_complete": step_complete,
    }
    base = (sdk.IProgressMonitor,)
    return types.new_class("Monitor", base, {}, lambda body: body.update(members))()
