"""The child's side of a conversation: ``python -m bmopt.core.answering MODULE FD fix``."""

from __future__ import annotations

import importlib
import multiprocessing.connection
import sys
from collections.abc import Mapping, Sequence

from bmopt.core.addresses import execute_fixed
from bmopt.core.bereavement import die_with_parent
from bmopt.core.conversation import AS_THEY_ARE, CHILD, DONE, FAILED, FIX, TOLD, Command
from bmopt.errors import BmoptError


def answer_requests(handle: int, commands: Mapping[str, Command]) -> None:
    """Answer requests from the pipe ``handle`` until the other side closes it.

    A ``BmoptError`` is an answer too; any other exception is a bug and ends the process.
    """
    with multiprocessing.connection.Connection(handle) as pipe:

        def tell(value: object) -> None:
            pipe.send((TOLD, value))

        while True:
            try:
                command, given = pipe.recv()
            except (EOFError, ConnectionError):
                return
            try:
                answer = (DONE, commands[command](tell, **given))
            except BmoptError as error:
                answer = (FAILED, error)
            pipe.send(answer)


def main(argv: Sequence[str]) -> int:
    """Answer with the commands of a module, which is not this one: pickles name their module.

    With ``fix`` as the last argument, this program first goes on at fixed addresses if it can.
    """
    _, module, handle, addresses = argv
    if addresses == FIX:
        execute_fixed(["-m", CHILD, module, handle, AS_THEY_ARE])
    die_with_parent()
    answer_requests(int(handle), importlib.import_module(module).commands())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
