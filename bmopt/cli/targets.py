"""``bmopt targets``."""

from __future__ import annotations

import argparse

from bmopt.cli.options import add_json
from bmopt.cli.output import print_json, print_table
from bmopt.cli.verb import Verb


def _run(arguments: argparse.Namespace) -> int:
    import dataclasses

    from bmopt.workflow.hosting import targets

    found = targets()
    if arguments.json:
        print_json([dataclasses.asdict(status) for status in found])
        return 0
    rows = [
        (s.target, _yes(s.compile), _yes(s.build), _yes(s.run), s.version or "-", s.reason)
        for s in found
    ]
    print_table(("target", "compile", "build", "run", "version", "reason"), rows)
    return 0


def _yes(able: bool) -> str:
    return "yes" if able else "no"


VERB = Verb("targets", "say what can be compiled, built and run here, and why not", add_json, _run)
