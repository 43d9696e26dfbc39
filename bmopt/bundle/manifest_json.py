"""``manifest.json``: written, and read from anybody with everything checked."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from bmopt.bundle import layout
from bmopt.bundle.json_fields import Fields, parse
from bmopt.bundle.manifest import (
    MAX_BYTES,
    MAX_NESTING,
    SCHEMA,
    SCHEMA_KEY,
    FileEntry,
    Manifest,
)
from bmopt.bundle.model_json import read_model
from bmopt.data.preprocess import Preprocess
from bmopt.errors import BundleError, UsageError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

PIXEL_OPTIONS = ("resize", "crop", "channels", "scale", "mean", "std", "layout", "dtype")
"""Options of preprocessing that change pixels, and not which arrays are taken."""


def to_json(manifest: Manifest) -> str:
    """Return the text that ``from_json`` reads; optional values that are not set are left out."""
    document = {SCHEMA_KEY: SCHEMA, **_plain(manifest)}
    for model in document["models"]:
        needs = model["needs"]
        needs["cpu"] = [flags[0] if len(flags) == 1 else flags for flags in needs["cpu"]]
    document["files"] = dict(sorted(document["files"].items()))
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a manifest
    """Return dataclasses as objects without their empty fields; lists keep their nulls."""
    if dataclasses.is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def valid_name(name: str) -> str:
    """Return the name of a bundle or model after checking that it can be a file's.

    Raises:
        BundleError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise BundleError(
            f"{name[:80]!r}: is no name; use letters, digits, '.', '_' and '-', at most 100"
        )
    return name


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the bundle in ``folder``.

    Raises:
        BundleError: There is none, or it is malformed.
    """
    path = folder / layout.MANIFEST
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{folder}: is no bundle ({layout.MANIFEST}: {error.strerror})"
        ) from error
    return from_json(data, str(path))


def from_json(data: bytes | str, where: str) -> Manifest:
    """Return the manifest in ``data``; ``where`` begins error messages.

    Raises:
        BundleError: It is malformed, of another version, or contradicts itself.
    """
    data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    fields = parse(data, where, max_bytes=MAX_BYTES, max_nesting=MAX_NESTING)
    version = fields.value.get(SCHEMA_KEY)
    if type(version) is not int:
        raise BundleError(f"{where}: is no manifest of a bundle ({SCHEMA_KEY} is missing)")
    if version != SCHEMA:
        raise BundleError(f"{where}: schema {version}; this bmopt reads {SCHEMA}: use a newer one")
    manifest = Manifest(
        bmopt=fields.text("bmopt"),
        name=valid_name(fields.text("name")),
        platform=fields.choice("platform", layout.PLATFORMS),
        models=tuple(read_model(model) for model in fields.objects("models")),
        files=_files(fields.child("files")),
        preprocess=fields.optional("preprocess", lambda key: _preprocess(fields.child(key))),
        labels=fields.optional("labels", lambda key: _path(fields, key)),
    )
    _check_whole(manifest, where)
    return manifest


def _files(fields: Fields) -> dict[str, FileEntry]:
    found = {}
    for path in fields.value:
        entry = fields.child(layout.checked_path(path, fields.where))
        sha256 = entry.text("sha256")
        if not _SHA256.fullmatch(sha256):
            raise BundleError(f"{entry.where}: sha256 has to be 64 hexadecimal digits")
        found[path] = FileEntry(sha256, entry.integer("bytes"))
    return found


def _path(fields: Fields, key: str) -> str:
    return layout.checked_path(fields.text(key), fields.where)


def _preprocess(fields: Fields) -> dict[str, Any]:
    options = {key: value for key, value in fields.value.items() if key in PIXEL_OPTIONS}
    try:
        checked = Preprocess.from_mapping(options, fields.where).to_dict()
    except UsageError as error:
        raise BundleError(str(error)) from error
    return {"input": fields.text("input"), **checked}


def _check_whole(manifest: Manifest, where: str) -> None:
    """Check that names are distinct and that every file that is named is listed."""
    names = [model.name for model in manifest.models]
    if not names or len(set(names)) < len(names):
        raise BundleError(f"{where}: models have to be there, each under a name of its own")
    named = [] if manifest.labels is None else [manifest.labels]
    for model in manifest.models:
        named.append(model.file)
        for pair in model.golden:
            named += [tensor.file for tensor in pair.inputs]
            named += [tensor.file for tensor in pair.outputs]
    for path in named:
        if path not in manifest.files:
            raise BundleError(f"{where}: {path} is used and not listed in files")
    for path in manifest.files:
        if path in layout.UNLISTED:
            raise BundleError(f"{where}: {path} must not be listed in files")
