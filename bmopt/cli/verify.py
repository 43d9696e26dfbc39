"""``bmopt verify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmopt.cli.options import add_json
from bmopt.cli.output import print_json, print_table, say
from bmopt.cli.verb import Verb

if TYPE_CHECKING:
    from bmopt.bundle.golden_check import Compared
    from bmopt.workflow.verifying_bundle import ModelCheck, Verification


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundle", metavar="BUNDLE", type=Path, help="a folder, .tar.zst, .tar.gz or .zip"
    )
    parser.add_argument(
        "--key",
        metavar="PUBLIC_KEY",
        help="the ed25519 key that has to have signed it: base64, or a file with base64 or PEM",
    )
    parser.add_argument(
        "--no-run",
        action="store_true",
        help="check files and signature only, not this host and the golden outputs",
    )
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.workflow.verifying_bundle import verify_bundle

    found = verify_bundle(arguments.bundle, key=arguments.key, run=not arguments.no_run)
    if arguments.json:
        print_json(_document(found))
    else:
        _print(found)
    if found.failure is not None:
        raise found.failure
    return 0


def _document(found: Verification) -> dict[str, Any]:
    failure = found.failure
    return {
        "bundle": found.bundle,
        "name": found.name,
        "platform": found.platform,
        "passed": found.passed,
        "files": found.files,
        "signature": _signature(found),
        "models": [
            {
                "name": model.name,
                "target": model.target,
                "lacks": model.lacks,
                "golden": [_golden(compared) for compared in model.golden],
            }
            for model in found.models
        ],
        "failure": failure and {"exit_code": failure.exit_code, "message": str(failure)},
    }


def _signature(found: Verification) -> dict[str, Any] | None:
    from bmopt.bundle.keys import encoded, fingerprint

    if found.signer is None:
        return None
    return {
        "public_key": encoded(found.signer),
        "fingerprint": fingerprint(found.signer),
        "is_demanded": found.is_demanded,
    }


def _golden(compared: Compared) -> dict[str, Any]:
    return {
        "pair": compared.pair,
        "output": compared.output,
        "difference": compared.difference,
        "tolerance": compared.tolerance,
        "is_within": compared.is_within,
    }


def _print(found: Verification) -> None:
    if found.name:
        say(f"bundle: {found.name} for {found.platform}")
    if "checksums" in found.passed:
        say(f"checksums: {found.files} files are as they were packed")
    if "signature" in found.passed:
        say(f"signature: {_signature_text(found)}")
    for model in found.models:
        say(f"model: {model.name} {_model_text(found, model)}")
    rows = [
        (m.name, str(c.pair), c.output, f"{c.difference:.3g}", f"{c.tolerance:.3g}")
        for m in found.models
        for c in m.golden
    ]
    headers = ("model", "golden pair", "output", "difference", "allowed")
    print_table(headers, rows, right=(1, 3, 4))


def _model_text(found: Verification, model: ModelCheck) -> str:
    if not model.lacks and "golden" in found.passed and not model.golden:
        return "runs here; it has no golden outputs to compare"
    return model.lacks or "runs here"


def _signature_text(found: Verification) -> str:
    from bmopt.bundle.keys import encoded, fingerprint

    if found.signer is None:
        return "none: whoever changed the bundle could have changed its checksums too"
    key = f"{fingerprint(found.signer)} (key {encoded(found.signer)})"
    if found.is_demanded:
        return f"by the key that was given, {key}"
    return f"by {key}; without --key this only shows that the bundle is whole, not who packed it"


VERB = Verb("verify", "check a bundle's files, signature and answers", _add_arguments, _run)
