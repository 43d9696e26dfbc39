from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import (
    InferenceSession,
)
from onnxruntime.tools.reduced_build_config_parser import parse_config

from bmopt.bundle.formats.ort_canonical import canonical
from bmopt.bundle.formats.serving import write_format
from bmopt.bundle.manifest import Manifest
from bmopt.bundle.manifest_json import read_manifest
from bmopt.errors import BundleError
from tests.bundle.formats.packed_models import (
    IMAGES,
    QUANTISED,
    SIGNED,
    golden,
    with_models,
    write_packed,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Return the bundles of a float and an 8-bit model, and what was written of each."""
    root = tmp_path_factory.mktemp("ort")
    found = {}
    for name, text in (("float", IMAGES), ("int8", QUANTISED)):
        bundle = write_packed(root / name, text)
        write_format("ort", bundle, root / f"{name}.ort")
        found[name] = (bundle, root / f"{name}.ort")
    return found


Made = dict[str, tuple[Path, Path]]


@pytest.mark.parametrize("name", ["float", "int8"])
def test_golden_outputs(made: Made, name: str) -> None:
    bundle, out = made[name]
    feeds, answers = golden(bundle, read_manifest(bundle).models[0])
    session = ort.InferenceSession(out / "model.ort", providers=["CPUExecutionProvider"])
    found = session.run(list(answers), feeds)
    for name, value in zip(answers, found, strict=True):
        np.testing.assert_allclose(value, answers[name], atol=1e-4, rtol=0)


def test_same_bytes_wherever_it_is_made(made: Made, tmp_path: Path) -> None:
    bundle, out = made["int8"]
    write_format("ort", bundle, tmp_path / "another place" / "out")
    for file in out.iterdir():
        assert (tmp_path / "another place/out" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", ["float", "int8"])
def test_table_of_kernel_types_keeps_what_it_says(made: Made, name: str, tmp_path: Path) -> None:
    bundle, out = made[name]
    ours = (out / "model.ort").read_bytes()
    assert ours[4:8] == b"ORTM"
    assert canonical(ours) == ours
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "plain.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    source = bundle / "models/m0/model.onnx"
    filters = ["NchwcTransformer"]
    ort.InferenceSession(source, options, ["CPUExecutionProvider"], disabled_optimizers=filters)
    plain = (tmp_path / "plain.ort").read_bytes()
    assert kernel_types(ours) == kernel_types(plain)
    assert kernel_types(ours)


def kernel_types(data: bytes) -> list[tuple[Any, ...]]:
    resolver = InferenceSession.GetRootAs(data, 0).KernelTypeStrResolver()
    found = []
    for index in range(resolver.OpKernelTypeStrArgsLength()):
        op = resolver.OpKernelTypeStrArgs(index)
        for number in range(op.KernelTypeStrArgsLength()):
            entry = op.KernelTypeStrArgs(number)
            ports = [entry.Args(k) for k in range(entry.ArgsLength())]
            uses = tuple((port.ArgType(), port.Index()) for port in ports)
            found.append((op.OpId(), entry.KernelTypeStr(), uses))
    return sorted(found)


def test_operator_lists(made: Made) -> None:
    _, out = made["int8"]
    names = (out / "required_operators.config").read_text()
    assert str(out.parent) not in names
    # Integers are multiplied: what was compiled is what runs.
    assert "QLinearMatMul" in names
    assert "uint8_t" in (out / "required_operators_and_types.config").read_text()
    readme = (out / "README.md").read_text()
    assert f"v{ort.__version__}" in readme
    assert "@" not in readme


def test_lists_are_what_the_builds_parser_reads(made: Made) -> None:
    _, out = made["float"]
    for name, has_types in (
        ("required_operators.config", False),
        ("required_operators_and_types.config", True),
    ):
        operators, _ = parse_config(str(out / name), has_types)
        found = {op for opsets in operators.values() for ops in opsets.values() for op in ops}
        assert "GlobalAveragePool" in found


def test_settings_of_the_session_hold_while_it_is_made(tmp_path: Path) -> None:
    # Q/DQ nodes stay, as the settings ask, instead of becoming an integer product.
    change = with_models(session={"session.disable_quant_qdq": "1"})
    bundle = write_packed(tmp_path / "bundle", QUANTISED, change=change)
    write_format("ort", bundle, tmp_path / "out")
    assert "QLinearMatMul" not in (tmp_path / "out/required_operators.config").read_text()


@pytest.mark.parametrize(
    ("platform", "dtype"), [("x86_64-linux", "uint8_t"), ("aarch64-linux", "int8_t")]
)
def test_activations_have_the_sign_that_the_platforms_kernels_want(
    tmp_path: Path, platform: str, dtype: str
) -> None:
    def change(manifest: Manifest) -> Manifest:
        return dataclasses.replace(manifest, platform=platform)

    bundle = write_packed(tmp_path / "bundle", SIGNED, change=change)
    write_format("ort", bundle, tmp_path / "out")
    types = (tmp_path / "out/required_operators_and_types.config").read_text()
    assert f'QuantizeLinear{{"outputs": {{"0": ["{dtype}"]}}}}' in types
    assert "QLinearConv" in types


def test_what_has_no_ort_file(tmp_path: Path) -> None:
    engine = with_models(engine="tensorrt", target="trt-int8")
    bundle = write_packed(tmp_path / "engine", IMAGES, change=engine)
    with pytest.raises(BundleError, match="not of tensorrt"):
        write_format("ort", bundle, tmp_path / "out")
    bundle = write_packed(tmp_path / "broken", IMAGES)
    (bundle / "models/m0/model.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"converter failed .*INVALID_PROTOBUF"):
        write_format("ort", bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()
