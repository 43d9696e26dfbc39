"""``bmopt verify``: stages in their order, exit codes, what is printed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bundle.archive import write_archive
from bmopt.bundle.keys import encoded, fingerprint
from bmopt.bundle.layout import ARCHIVES
from bmopt.bundle.manifest import Manifest, Needs, RuntimeNeed
from bmopt.cli.main import main
from bmopt.errors import BundleError
from bmopt.workflow.verifying_bundle import STAGES, verify_bundle
from tests.bundle.bundles import (
    Change,
    changed_model,
    public_of,
    write_bundle,
    write_key,
)

OUTPUT = "golden/ort-fp32/0/output_0.npy"


def needing(**changes: Any) -> Change:
    need = RuntimeNeed("onnxruntime", "1.20", "", "1.20")
    return changed_model(needs=dataclasses.replace(Needs((), (), need), **changes))


def verified(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, Any, str]:
    """Return exit code, JSON document and stderr of ``bmopt verify --json``."""
    code = main(["verify", *map(str, arguments), "--json"])
    printed = capsys.readouterr()
    return code, json.loads(printed.out or "null"), printed.err


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_key(tmp_path_factory.mktemp("keys") / "key.pem")


@pytest.mark.parametrize("suffix", ["", *ARCHIVES])
def test_a_right_bundle_passes_every_stage(
    tmp_path: Path, key: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b", key=key)
    if suffix:
        write_archive(bundle, tmp_path / f"a{suffix}")
        bundle = tmp_path / f"a{suffix}"
    code, document, error = verified(capsys, bundle, "--key", encoded(public_of(key)))
    assert (code, error) == (0, "")
    assert tuple(document["passed"]) == STAGES
    assert document["signature"]["is_demanded"]
    assert document["models"][0]["golden"][0]["is_within"]
    assert document["failure"] is None


def test_what_is_printed_says_what_a_signature_shows(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b", key=key)
    assert main(["verify", str(bundle)]) == 0
    shown = capsys.readouterr().out
    assert fingerprint(public_of(key)) in shown
    assert "only shows that the bundle is whole" in shown
    assert "logits" in shown
    (bundle / "SIGNATURE").unlink()
    assert main(["verify", str(bundle), "--no-run"]) == 0
    assert "signature: none" in capsys.readouterr().out


def test_a_changed_file_ends_before_the_signature(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b", key=key)
    (bundle / "labels.txt").write_text("ONE\ntwo\nthree\n")
    code, document, error = verified(capsys, bundle)
    assert code == 5
    assert document["passed"] == ["manifest"]
    assert document["failure"]["exit_code"] == 5
    assert error.count("\n") == 1
    assert "'labels.txt' is not what SHA256SUMS says" in error


def test_another_key_ends_before_the_host(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b", key=key, change=needing(cpu=(("nosuch",),)))
    other = encoded(public_of(write_key(tmp_path / "other.pem", seed=9)))
    code, document, _ = verified(capsys, bundle, "--key", other)
    assert code == 5
    assert document["passed"] == ["manifest", "checksums"]


def test_a_missing_cpu_feature_is_a_host_error_after_the_signature(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b", key=key, change=needing(cpu=(("nosuch",),)))
    code, document, error = verified(capsys, bundle)
    assert code == 6
    assert document["passed"] == ["manifest", "checksums", "signature"]
    assert "ort-fp32 needs nosuch, which this CPU lacks" in error
    assert verified(capsys, bundle, "--no-run")[0] == 0


def test_another_platform_is_a_host_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def elsewhere(manifest: Manifest) -> Manifest:
        other = "aarch64-linux" if manifest.platform != "aarch64-linux" else "x86_64-linux"
        return dataclasses.replace(manifest, platform=other)

    bundle = write_bundle(tmp_path / "b", change=elsewhere)
    code, document, error = verified(capsys, bundle)
    assert code == 6
    assert document["passed"] == ["manifest", "checksums", "signature"]
    assert "run its smoke_test there" in error


def test_one_model_that_runs_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def with_another(manifest: Manifest) -> Manifest:
        (model,) = manifest.models
        faster = dataclasses.replace(
            model, name="faster", needs=dataclasses.replace(model.needs, cpu=(("nosuch",),))
        )
        return dataclasses.replace(manifest, models=(faster, model))

    code, document, _ = verified(capsys, write_bundle(tmp_path / "b", change=with_another))
    assert code == 0
    assert [bool(model["golden"]) for model in document["models"]] == [False, True]


def test_other_answers_are_a_golden_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle whose lists fit, and whose recorded output is not what the model answers."""
    folder = tmp_path / "b"

    def record_wrong(manifest: Manifest) -> Manifest:
        from tests.bundle.bundles import entries

        np.save(folder / OUTPUT, np.load(folder / OUTPUT) + np.float32(0.5))
        return dataclasses.replace(manifest, files=entries(folder))

    write_bundle(folder, change=record_wrong)
    code, document, error = verified(capsys, folder)
    assert code == 7
    assert document["passed"] == ["manifest", "checksums", "signature", "host"]
    assert not document["models"][0]["golden"][0]["is_within"]
    assert "logits of pair 0 is 0.5 off" in error
    assert main(["verify", str(folder)]) == 7
    assert "logits" in capsys.readouterr().out


def test_a_model_without_golden_outputs_is_not_said_to_answer_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["verify", str(write_bundle(tmp_path / "b", change=changed_model(golden=())))]) == 0
    )
    assert "no golden outputs to compare" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["{", "", "[]", '{"bmopt_bundle": 2}', "\0", "[" * 100_000])
def test_a_manifest_that_does_not_parse_is_bad_input(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b")
    (bundle / "manifest.json").write_text(broken)
    code, document, error = verified(capsys, bundle)
    assert code == 2
    assert document is None
    assert error.startswith("bmopt: error: ")
    assert error.count("\n") == 1


def test_what_is_no_bundle_or_key_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b")
    (tmp_path / "text").write_text("text")
    for arguments in (
        (tmp_path / "none",),
        (tmp_path / "text",),
        (bundle, "--key", "nokey"),
        (bundle, "--key", ""),
    ):
        code, document, error = verified(capsys, *arguments)
        assert (code, document, error.count("\n")) == (2, None, 1)
    with pytest.raises(BundleError):
        verify_bundle(tmp_path / "none")


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    bundle = write_bundle(tmp_path / "b")
    write_archive(bundle, tmp_path / "a.zip")
    data = (tmp_path / "a.zip").read_bytes()
    assert verify_bundle(tmp_path / "a.zip").failure is None
    (tmp_path / "a.zip").write_bytes(data.replace(b"labels.txt", b"labels.tyt"))
    assert verify_bundle(tmp_path / "a.zip").failure is not None
    assert list(room.iterdir()) == []


def test_the_bundle_is_not_written_to(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    shutil.copytree(bundle, tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    assert verify_bundle(bundle).failure is None
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before


def test_importing_bmopt_imports_nothing_of_this() -> None:
    code = "import sys, bmopt, bmopt.cli.main; print('zstandard' in sys.modules, "
    code += "'cryptography' in sys.modules, 'bmopt.bundle' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"] * 3
