"""``bmopt``: finds the verb, runs it, and turns what went wrong into one line and a code."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence

from bmopt import __version__
from bmopt.cli import (
    bench,
    build,
    cache,
    calibrate,
    compare,
    compile,
    demo,
    doctor,
    finetune,
    inspect,
    lint,
    optimize,
    package,
    prune,
    reduce,
    report,
    targets,
    verify,
)
from bmopt.cli.verb import OneLineParser, Verb
from bmopt.errors import BmoptError, HostError, OutputError

VERBS: tuple[Verb, ...] = (
    compile.VERB,
    build.VERB,
    optimize.VERB,
    calibrate.VERB,
    finetune.VERB,
    prune.VERB,
    inspect.VERB,
    lint.VERB,
    bench.VERB,
    compare.VERB,
    reduce.VERB,
    report.VERB,
    package.VERB,
    verify.VERB,
    targets.VERB,
    doctor.VERB,
    cache.VERB,
    demo.VERB,
)

_INTERRUPTED = 130
_BROKEN_PIPE = 141
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def entry() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``bmopt`` with ``argv`` (without the program's name) and return the exit code.

    Errors that a user can do something about are one line on stderr; any other exception is a
    bug of ours and passes through.

    Raises:
        SystemExit: ``--help``, ``--version`` and wrong usage, as argparse does it.
    """
    _print_anything()
    try:
        code = _run(argv)
    except BrokenPipeError:
        _forget_stdout()
        return _BROKEN_PIPE
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BmoptError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted; finished steps are in the cache", _INTERRUPTED, kind="")
    except MemoryError:
        advice = "use a smaller --batch-size, or a host with more memory"
        return _fail(f"out of memory; {advice}", HostError.exit_code)
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        if error.filename is None:
            _forget_stdout()  # what it still holds would fail again when Python ends
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror}; make room and try again", OutputError.exit_code)
    return code


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="bmopt",
        description="Turn a trained neural network into the fastest artifact that keeps its "
        "accuracy, and measure both.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"bmopt {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, title="verbs", dest="verb")
    for verb in VERBS:
        sub = verbs.add_parser(verb.name, help=verb.summary, description=_sentence(verb.summary))
        verb.add_arguments(sub)
        sub.set_defaults(run=verb.run)
    return parser


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _fail(message: str, code: int, *, kind: str = "error: ") -> int:
    print(f"bmopt: {kind}{' '.join(message.split())}", file=sys.stderr)
    return code


def _print_anything() -> None:
    """Let a terminal that lacks a character show its code instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter can end in silence."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
