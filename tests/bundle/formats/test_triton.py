from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from bmopt.bundle.formats.serving import write_format
from bmopt.bundle.manifest import Needs, Profile, RuntimeNeed
from bmopt.bundle.manifest_json import read_manifest
from bmopt.errors import BundleError
from tests.bundle.formats.packed_models import (
    IMAGES,
    QUANTISED,
    TOKENS,
    TWO_INPUTS,
    golden,
    with_models,
    write_packed,
)


def read_config(folder: Path) -> Any:
    """Return a model's configuration as Triton's own schema reads it."""
    schema = pytest.importorskip(
        "tritonclient.grpc.model_config_pb2", reason="no Triton schema (tritonclient[grpc])"
    )
    return text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())


def test_a_model_with_a_batch_axis(tmp_path: Path) -> None:
    labels = ["a", "b", "c", "d", "é"]
    bundle = write_packed(tmp_path / "bundle", IMAGES, labels=labels)
    write_format("triton", bundle, tmp_path / "repository")
    folder = tmp_path / "repository/net"
    source = bundle / "models/m0/model.onnx"
    assert (folder / "1/model.onnx").read_bytes() == source.read_bytes()
    assert (folder / "labels.txt").read_text(encoding="utf-8").split() == labels
    config = read_config(folder)
    assert (config.name, config.backend, config.max_batch_size) == ("net", "onnxruntime", 8)
    assert [(port.name, list(port.dims)) for port in config.input] == [("pixels", [3, 8, 8])]
    assert [(port.name, list(port.dims)) for port in config.output] == [("scores", [5])]
    assert config.output[0].label_filename == "labels.txt"
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert config.instance_group[0].kind == config.instance_group[0].KIND_CPU
    assert config.parameters["intra_op_thread_count"].string_value == "0"


def test_warm_up_is_one_golden_sample(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES)
    write_format("triton", bundle, tmp_path / "repository")
    folder = tmp_path / "repository/net"
    config = read_config(folder)
    assert [sample.batch_size for sample in config.model_warmup] == [1, 8]
    given = config.model_warmup[0].inputs["pixels"]
    raw = np.fromfile(folder / "warmup" / given.input_data_file, np.float32)
    feeds, _ = golden(bundle, read_manifest(bundle).models[0])
    np.testing.assert_array_equal(raw.reshape(list(given.dims)), feeds["pixels"][0])


def test_a_model_without_a_batch_axis(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", TWO_INPUTS)
    write_format("triton", bundle, tmp_path / "repository")
    config = read_config(tmp_path / "repository/net")
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert [list(port.dims) for port in config.input] == [[2, 3], [2, 3]]
    total, size = config.output
    assert list(total.dims) == [2, 3]
    # A scalar: Triton's tensors have a dimension, which it takes away.
    assert list(size.dims) == [1]
    assert size.HasField("reshape")
    assert list(size.reshape.shape) == []
    (sample,) = config.model_warmup
    assert sample.batch_size == 1
    assert list(sample.inputs["right"].dims) == [2, 3]


def test_first_axes_of_different_kinds_are_no_batch(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", TOKENS)
    write_format("triton", bundle, tmp_path / "repository")
    config = read_config(tmp_path / "repository/net")
    assert config.max_batch_size == 0
    assert [list(port.dims) for port in config.input] == [[-1, 4], [-1, 4]]


def test_several_artifacts_are_several_models(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES, QUANTISED)
    write_format("triton", bundle, tmp_path / "repository")
    names = sorted(path.name for path in (tmp_path / "repository").iterdir() if path.is_dir())
    assert names == ["net-m0", "net-m1"]
    assert [read_config(tmp_path / "repository" / name).name for name in names] == names


def test_an_engine_of_tensorrt(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES)
    manifest = read_manifest(bundle)
    (model,) = manifest.models
    (bundle / "models/m0/engine.plan").write_bytes(b"engine")
    profile = Profile((1, 3, 8, 8), (4, 3, 8, 8), (16, 3, 8, 8))
    engine = dataclasses.replace(
        model,
        engine="tensorrt",
        target="trt-int8",
        file="models/m0/engine.plan",
        needs=Needs((), ("sm86",), RuntimeNeed("tensorrt", "10.7", "11", "10.9")),
        inputs=(dataclasses.replace(model.inputs[0], profile=profile),),
    )
    from tests.bundle.bundles import entries, rewrite

    (bundle / model.file).unlink()
    rewrite(bundle, dataclasses.replace(manifest, models=(engine,), files=entries(bundle)))
    write_format("triton", bundle, tmp_path / "repository")
    folder = tmp_path / "repository/net"
    config = read_config(folder)
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", 16)
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 16]
    assert config.instance_group[0].kind == config.instance_group[0].KIND_GPU
    assert (folder / "1/model.plan").read_bytes() == b"engine"
    assert "below 11" in (folder / "config.pbtxt").read_text()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"engine": "tensorrt", "target": "trt-int8"}, "bmopt build"),
        ({"engine": "tensorrt_rtx", "target": "rtx-int8"}, "not of tensorrt_rtx"),
        ({"session": {"session.disable_quant_qdq": "1"}}, "disable_quant_qdq"),
    ],
)
def test_what_triton_cannot_serve(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES, change=with_models(**changes))
    with pytest.raises(BundleError, match=says):
        write_format("triton", bundle, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()
