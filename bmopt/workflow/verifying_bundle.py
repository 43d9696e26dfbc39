"""``bmopt verify``: a bundle's manifest, checksums, signature, needs and golden outputs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bmopt.bundle.golden_check import Compared, compare_golden, open_packed
from bmopt.bundle.keys import public_key
from bmopt.bundle.needs import lacks, require_platform
from bmopt.bundle.verifying import Opened, check_signer, check_sums, opened
from bmopt.core.cpuinfo import common_flags, read_cpus
from bmopt.errors import BmoptError, GoldenError, HostError, TrustError

STAGES = ("manifest", "checksums", "signature", "host", "golden")


@dataclasses.dataclass(frozen=True)
class ModelCheck:
    """One model of a bundle on this host.

    Attributes:
        name: Its name.
        target: What it was compiled for.
        lacks: What it needs that is not here; empty where it runs.
        golden: Its recorded outputs beside what it answers; empty where it was not run.
    """

    name: str
    target: str
    lacks: str
    golden: tuple[Compared, ...] = ()


@dataclasses.dataclass(frozen=True)
class Verification:
    """How far a bundle was found right.

    Attributes:
        bundle: Its path.
        name: What it is called, empty where the manifest could not be read.
        platform: What it is for.
        passed: The stages that it passed, of ``STAGES`` in their order.
        files: How many files it has.
        signer: The 32 bytes of the public key that signed it; None where none was found.
        is_demanded: Whether that is the key that the caller gave.
        models: Its models, where the host was looked at.
        failure: Why the next stage failed; None where all that were asked for passed.
    """

    bundle: str
    name: str = ""
    platform: str = ""
    passed: tuple[str, ...] = ()
    files: int = 0
    signer: bytes | None = None
    is_demanded: bool = False
    models: tuple[ModelCheck, ...] = ()
    failure: BmoptError | None = None


def verify_bundle(path: Path, *, key: str | None = None, run: bool = True) -> Verification:
    """Check a bundle, stage after stage, until one fails.

    Args:
        path: Its folder or archive.
        key: The public key that has to have signed it: base64, or a file with base64 or PEM;
            None for any.
        run: Whether this host and the golden outputs are looked at too.

    Raises:
        BundleError: It is no bundle, or its manifest is malformed; or the key is none.
        UsageError: The package that signatures need is not installed.
    """
    demanded = None if key is None else public_key(key)
    state = _Progress(Verification(str(path)))
    try:
        with opened(path) as bundle:
            _check(bundle, demanded, state)
            if run:
                _check_here(bundle, state)
    except (TrustError, HostError, GoldenError) as error:
        state.note(failure=error)
    return state.found


class _Progress:
    """What is known by now; kept when a stage raises."""

    def __init__(self, found: Verification) -> None:
        self.found = found

    def note(self, **changes: object) -> None:
        self.found = dataclasses.replace(self.found, **changes)  # type: ignore[arg-type]

    def passed(self, stage: str, **changes: object) -> None:
        self.note(passed=(*self.found.passed, stage), **changes)


def _check(bundle: Opened, demanded: bytes | None, state: _Progress) -> None:
    state.passed("manifest", name=bundle.manifest.name, platform=bundle.manifest.platform)
    state.passed("checksums", files=check_sums(bundle))
    signer = check_signer(bundle, demanded)
    state.passed("signature", signer=signer, is_demanded=demanded is not None)


def _check_here(bundle: Opened, state: _Progress) -> None:
    require_platform(bundle.manifest, bundle.where)
    flags = common_flags(read_cpus())
    models = tuple(
        ModelCheck(model.name, model.target, lacks(model, flags))
        for model in bundle.manifest.models
    )
    state.note(models=models)
    if all(model.lacks for model in models):
        reasons = "; ".join(f"{model.name} {model.lacks}" for model in models)
        raise HostError(f"{bundle.where}: no model in it runs here: {reasons}")
    state.passed("host")
    _check_golden(bundle, state)


def _check_golden(bundle: Opened, state: _Progress) -> None:
    """Run every model that runs here, not only the one that the runner would take."""
    checked = []
    for model, check in zip(bundle.manifest.models, state.found.models, strict=True):
        golden: tuple[Compared, ...] = ()
        if not check.lacks:
            with open_packed(bundle.folder, model) as runner:
                golden = tuple(compare_golden(bundle.folder, model, runner))
        checked.append(dataclasses.replace(check, golden=golden))
    state.note(models=tuple(checked))
    wrong = [(m, c) for m in checked for c in m.golden if not c.is_within]
    if wrong:
        checked_model, compared = wrong[0]
        raise GoldenError(
            f"{bundle.where}: {checked_model.name} answers otherwise than when it was packed: "
            f"{compared.output} of pair {compared.pair} is {compared.difference:g} off, "
            f"{compared.tolerance:g} is allowed ({len(wrong)} outputs differ)"
        )
    state.passed("golden")
