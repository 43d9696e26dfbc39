"""The shared labelled models as specs that bmopt opens, and their compilation in a process."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
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


def compiled(
    model: SharedModel, target: str, folder: Path, flags: Sequence[str]
) -> dict[str, Any] | str:
    """Return the report of ``bmopt compile`` without latency, or the line it was refused with.

    A budget that was missed is no refusal.

    ``target`` may have options of its own behind it.
    """
    argv = [sys.executable, "-m", "bmopt", "compile", str(model.path), "--target", *target.split()]
    argv += ["-o", str(folder / "artifact"), "--duration", "0", "--json", *flags]
    argv += ["--calib", model.calib, "--val", model.val]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode not in (0, 3):
        return " ".join(done.stderr.split())[-300:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def sample_limits(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the flags for as many samples as a benchmark's own options allow."""
    return ("--calib-limit", str(args.calib_limit), "--val-limit", str(args.val_limit))


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
