"""``bmopt package --format``: compiled artifacts in the form that a server loads."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bmopt.bundle.formats.serving import FORMATS, default_out, require_out, write_format
from bmopt.bundle.signing import sign
from bmopt.bundle.writer import set_modes
from bmopt.errors import UsageError
from bmopt.workflow.packaging import (
    Package,
    PackageOptions,
    Parts,
    bundle_name,
    fill,
    find_parts,
    read_all,
    read_labels,
    size_of,
)
from bmopt.workflow.progress import Progress, Quiet


def package_as(
    kind: str,
    artifacts: Sequence[Path],
    options: PackageOptions,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Package:
    """Write ``artifacts`` in the format ``kind``, a key of ``FORMATS``.

    ``out`` is a folder, or a file where the format is one; see ``default_out`` for where it is if
    left out. What is in it is taken from a bundle that is written for it and removed.

    Raises:
        ArtifactError: An artifact is damaged.
        BundleError: The format cannot serve the artifacts, or they make no bundle.
        OutputError: ``out`` cannot be written.
        UsageError: No such format, or an option that is not for it.
    """
    _require_options(kind, options)
    progress = progress or Quiet()
    progress.step("check")
    packed = read_all(artifacts, options)
    name = bundle_name(packed, options)
    out = out or default_out(kind, name)
    require_out(kind, out)
    progress.step("runtime")
    parts = (
        find_parts(packed, options, progress)
        if FORMATS[kind].needs_runner
        else Parts(None, {}, {}, read_labels(options.labels))
    )
    with tempfile.TemporaryDirectory(prefix="bmopt-bundle-") as scratch:
        bundle = Path(scratch)
        manifest = fill(bundle, name, packed, parts, options, progress)
        if options.key is not None:
            sign(bundle, options.key)
            set_modes(bundle)
        progress.step(kind)
        write_format(kind, bundle, out)
    return Package(out, size_of(out), manifest)


def _require_options(kind: str, options: PackageOptions) -> None:
    if kind not in FORMATS:
        raise UsageError(f"no format {kind!r}; valid are native, {', '.join(FORMATS)}")
    given = {
        "--slim": options.is_slim,
        "--runtime": options.runtime is not None and not FORMATS[kind].needs_runner,
        "--sign": options.key is not None and not FORMATS[kind].needs_runner,
    }
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} is not for --format {kind}; leave it out")
