"""``bmopt doctor``."""

from __future__ import annotations

import argparse

from bmopt.cli.options import add_json
from bmopt.cli.output import print_json, print_table, say
from bmopt.cli.verb import Verb


def _run(arguments: argparse.Namespace) -> int:
    import dataclasses

    from bmopt.workflow.hosting import diagnose

    findings = diagnose()
    if arguments.json:
        print_json([dataclasses.asdict(finding) for finding in findings])
        return 0
    print_table(("what", "found"), [(finding.name, finding.value) for finding in findings])
    advice = [f"{finding.name}: {finding.advice}" for finding in findings if finding.advice]
    if advice:
        say()
    for line in advice:
        say(line, style="yellow")
    return 0


VERB = Verb("doctor", "show the processor, threads and versions that matter here", add_json, _run)
