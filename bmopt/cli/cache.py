"""``bmopt cache``."""

from __future__ import annotations

import argparse

from bmopt.cli.options import add_json
from bmopt.cli.output import print_json, say
from bmopt.cli.units import size_text
from bmopt.cli.verb import Verb


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clear", action="store_true", help="delete what is in it")
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.core.cache_folder import cache_folder
    from bmopt.workflow.cache import clear_cache

    folder = cache_folder()
    if arguments.clear:
        size = clear_cache()
    else:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if arguments.json:
        print_json({"folder": folder, "size_bytes": size, "cleared": arguments.clear})
        return 0
    say(f"{folder}: {size_text(size)}{' cleared' if arguments.clear else ''}")
    return 0


VERB = Verb("cache", "show or clear the cache of finished steps", _add_arguments, _run)
