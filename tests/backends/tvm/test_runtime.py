from __future__ import annotations

import dataclasses
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.backends.tvm import runtime
from bmopt.backends.tvm.names import Port, Signature
from bmopt.backends.tvm.runtime import open_library
from bmopt.backends.tvm.targets import compiler_for, device_for
from bmopt.core.host import host_facts
from bmopt.errors import ArtifactError, DataError, HostError
from tests.backends.tvm.installed import (
    distance,
    expected,
    needs_tvm,
)

pytestmark = needs_tvm


def _feeds(batch: int = 2) -> dict[str, Any]:
    random = np.random.default_rng(batch)
    return {"image": random.standard_normal((batch, 4, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("threads", [0, 1, 2])
def test_it_answers_as_onnx_runtime_does(folder: Path, batch: int, threads: int) -> None:
    with open_library(folder / "model.so", threads=threads) as runner:
        assert runner.output_names == ("logits", "features")
        answers = runner.run(_feeds(batch))
    assert distance(answers, expected(folder / "model.onnx", _feeds(batch))) <= 1e-4


def test_answers_are_the_callers_own(folder: Path) -> None:
    with open_library(folder / "model.so") as runner:
        first = runner.run(_feeds(1))
        kept = {name: array.copy() for name, array in first.items()}
        runner.run(_feeds(3))
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)
        assert first[name].flags.writeable


def test_any_thread_may_run_it(folder: Path) -> None:
    answers: list[dict[str, Any]] = []
    with open_library(folder / "model.so", threads=2) as runner:
        thread = threading.Thread(target=lambda: answers.append(runner.run(_feeds())))
        thread.start()
        thread.join()
    assert distance(answers[0], expected(folder / "model.onnx", _feeds())) <= 1e-4


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "input 'image' is missing"),
        ({**_feeds(), "mask": np.zeros(1)}, "there is no input 'mask'; the model has image"),
        (
            {"image": np.zeros((1, 4, 8, 8))},
            "input 'image' is float64, the model takes float32",
        ),
        (
            {"image": np.zeros((1, 4, 8, 7), np.float32)},
            "input 'image' is 1x4x8x7, the model takes Nx4x8x8",
        ),
        (
            {"image": np.zeros((4, 8, 8), np.float32)},
            "input 'image' is 4x8x8, the model takes Nx4x8x8",
        ),
    ],
)
def test_feeds_that_do_not_fit_are_named(folder: Path, feeds: Any, message: str) -> None:
    with open_library(folder / "model.so") as runner, pytest.raises(DataError) as found:
        runner.run(feeds)
    assert str(found.value) == message


def test_no_order_of_memory_is_assumed(folder: Path) -> None:
    feeds = _feeds()
    turned = {"image": np.asfortranarray(feeds["image"])[:, :, ::-1]}
    with open_library(folder / "model.so") as runner:
        answers = runner.run(turned)
    assert distance(answers, expected(folder / "model.onnx", turned)) <= 1e-4


def test_nothing_is_printed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open_library(folder / "model.so") as runner:
        runner.run(_feeds())
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_damaged_library_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.so"
    path.write_bytes((folder / "model.so").read_bytes()[:4096])
    with pytest.raises(ArtifactError, match="is cut short; compile again"):
        open_library(path)
    path.write_bytes(b"no library at all")
    with pytest.raises(ArtifactError, match="is no shared library; compile again"):
        open_library(path)


def test_a_library_of_another_architecture_is_refused(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "model.so").read_bytes())
    data[18:20] = (0xF3).to_bytes(2, "little")
    (tmp_path / "model.so").write_bytes(data)
    with pytest.raises(HostError, match="is for riscv64, this host is"):
        open_library(tmp_path / "model.so")


def test_a_library_of_something_else_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "other.cpp"
    source.write_text("int answer() { return 42; }\n", encoding="utf-8")
    host = host_facts(query_gpus=str)
    linker = compiler_for(device_for("host", host), host)
    out = tmp_path / "model.so"
    subprocess.run([linker, "-shared", "-fPIC", "-o", str(out), str(source)], check=True)
    with pytest.raises(ArtifactError, match=r"TVM cannot load it \(.*\); compile again") as found:
        open_library(tmp_path / "model.so")
    assert "\n" not in str(found.value)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        open_library(tmp_path / "model.so")


def test_a_processor_that_lacks_instructions_is_no_host(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = host_facts(query_gpus=str)
    assert own.flags, "nothing is known of this processor"
    poor = dataclasses.replace(own, flags=own.flags[1:])
    monkeypatch.setattr(runtime, "host_facts", lambda **_: poor)
    with pytest.raises(HostError, match=f"for a processor with {own.flags[0]}, which"):
        open_library(folder / "model.so")


def test_symbols_are_one_size() -> None:
    ports = (Port("a", "float32", ("N", 2)), Port("b", "float32", ("N",)))
    array = np.zeros((3, 2), np.float32)
    assert len(runtime.ordered_arrays(ports, {"b": array[:, 0], "a": array})) == 2
    with pytest.raises(DataError, match="input 'b' is 2, the model takes N"):
        runtime.ordered_arrays(ports, {"a": array, "b": np.zeros(2, np.float32)})


def test_a_signature_is_read_back() -> None:
    signature = Signature(
        (Port("a", "float32", ("N", 2)),), (Port("b", "", None),), "arm", (), "1"
    )
    assert Signature.from_json(signature.to_json()) == signature
