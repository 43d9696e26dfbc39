"""``bmopt package`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmopt.bundle import native
from bmopt.cli.main import main
from tests.bundle.native_double import X86, install_stubs
from tests.workflow.demo_runs import compile_demo


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMOPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return compile_demo(tmp_path_factory.mktemp("demo") / "artifact").artifact


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_stubs(tmp_path / "installed", monkeypatch)


def test_it_tells_what_was_packed(
    artifact: Path, stubs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["package", str(artifact), "--for", X86, "--slim", "-o", "bundle"]) == 0
    shown = capsys.readouterr()
    assert "ort-int8-x86-vnni  avx512_vnni or avx_vnni, onnxruntime 1.23+" in shown.out
    assert "\nbundle: " in shown.out
    assert shown.err == ""
    assert Path("bundle/smoke_test").is_file()


def test_json_has_the_manifest_the_path_and_the_size(
    artifact: Path, stubs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["package", str(artifact), "--for", X86, "--slim", "--name", "n", "--json"]
    assert main([*arguments, "-o", "n.zip"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["path"], shown["bytes"]) == ("n.zip", Path("n.zip").stat().st_size)
    assert shown["manifest"]["name"] == "n"
    assert shown["manifest"]["bmopt_bundle"] == 1


def test_errors_are_one_line_with_code_2(
    artifact: Path, stubs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["package", str(artifact), "--for", "aarch64-linux", "--slim"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "compile for ort-int8:arm64-dotprod" in error


def test_a_runner_that_is_not_installed(
    artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(native, "installed_folder", lambda: tmp_path)
    assert main(["package", str(artifact), "--for", X86, "--slim"]) == 2
    assert "make runner" in capsys.readouterr().err


def test_a_platform_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["package", "artifact"])
    assert caught.value.code == 2
    assert "--for" in capsys.readouterr().err


def test_preprocessing_and_the_best_classes_in_the_graph(
    artifact: Path, stubs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["package", str(artifact), "--for", X86, "--slim", "-o", "bundle"]
    assert main([*arguments, "--fold-preprocess", "--top-k", "3"]) == 0
    assert "(logits_scores), " in capsys.readouterr().out
    (model,) = json.loads(Path("bundle/manifest.json").read_text())["models"]
    assert [port["dtype"] for port in model["inputs"]] == ["uint8"]
    assert main([*arguments, "--top-k", "11"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "has 10 classes" in error
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--top-k", "0"])
    assert caught.value.code == 2


def test_formats_of_servers(
    artifact: Path, stubs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["package", str(artifact), "--for", X86, "--name", "n"]
    assert main([*arguments, "--format", "torchserve"]) == 0
    shown = capsys.readouterr().out
    assert "torchserve --start --model-store . --models n=n.mar" in shown
    assert Path("n.mar").is_file()
    assert main([*arguments, "--format", "triton", "--slim"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_formats_are_all_there(capsys: pytest.CaptureFixture[str]) -> None:
    from bmopt.bundle.formats.serving import FORMATS

    with pytest.raises(SystemExit):
        main(["package", "--help"])
    assert f"{{{','.join(('native', *FORMATS))}}}" in "".join(capsys.readouterr().out.split())
