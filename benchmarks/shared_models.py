"""The shared labelled models as specs that bmopt opens, read from their manifest."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclasses.dataclass(frozen=True)
class SharedModel:
    """One model with its data.

    Attributes:
        name: Its name in the manifest.
        path: Its file.
        calib: Spec of its calibration samples, preprocessing included.
        val: Spec of its validation samples.
    """

    name: str
    path: Path
    calib: str
    val: str


def shared_models(folder: Path, only: str = "") -> list[SharedModel]:
    """Return the manifest's models, or those whose name contains ``only``."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return [
        SharedModel(
            name=name,
            path=folder / entry["file"],
            calib=_spec(folder, entry, "calib"),
            val=_spec(folder, entry, "val"),
        )
        for name, entry in manifest["models"].items()
        if only in name
    ]


def _spec(folder: Path, entry: dict[str, Any], which: str) -> str:
    data, pre = entry["data"][which], entry["preprocess"]
    query = [f"{key}={data[key]}" for key in ("x", "y") if data.get(key)]
    if pre["kind"] == "image":
        query.append(f"scale={pre['scale']!r}")
        query += [f"{key}={','.join(map(repr, pre[key]))}" for key in ("mean", "std")]
        query.append(f"channels={pre['channels']}")
        if pre.get("center_crop"):
            query.append(f"crop={pre['center_crop']}")
    return f"{folder / data['file']}?{'&'.join(query)}"
