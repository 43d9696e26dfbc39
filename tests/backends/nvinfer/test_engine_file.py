from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from bmopt.backends.nvinfer.engine_file import EngineHeader, read_header, refusal
from bmopt.errors import ArtifactError

_BUILD = """
import sys, onnx, tensorrt_rtx as trt
model = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17]>'
    'g (float[2,4] x) => (float[2,4] y) { y = Add(x, x) }'
)
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
assert trt.OnnxParser(network, logger).parse(model.SerializeToString())
config = builder.create_builder_config()
names = sys.argv[2].split(",")
config.num_compute_capabilities = len(names)
for i, name in enumerate(names):
    config.set_compute_capability(getattr(trt.ComputeCapability, name), i)
with open(sys.argv[1], "wb") as file:
    file.write(builder.build_serialized_network(network, config))
"""
_DESERIALISE = """
import sys, tensorrt_rtx as trt
class Logger(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
    def log(self, severity, message):
        pass
runtime = trt.Runtime(Logger())
data = open(sys.argv[1], "rb").read()
print(runtime.get_engine_validity(data)[0].name, runtime.deserialize_cuda_engine(data) is None)
"""
_OPEN = """
import sys
from pathlib import Path
from bmopt.backends.nvinfer.runtime import open_engine
from bmopt.errors import BmoptError
try:
    open_engine(Path(sys.argv[1]), "rtx").close()
    print("opened")
except BmoptError as error:
    print(type(error).__name__, error)
"""


def _child(script: str, *arguments: str) -> str:
    """Run an SDK where a crash is a test's failure and not the end of all tests."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def rtx_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tensorrt_rtx")
    path = tmp_path_factory.mktemp("engine") / "engine.rtx"
    _child(_BUILD, str(path), "SM86,SM120")
    return path


def _header(
    tag: bytes = b"ftrt", version: tuple[int, ...] = (10, 9, 0, 34), size: int = 0
) -> bytes:
    return struct.pack("<4sI8xQ4B4sI", tag, 0, size, *version, tag, 0)


def test_a_real_engine_tells_its_version_size_and_gpus(rtx_engine: Path) -> None:
    import tensorrt_rtx

    header = read_header(rtx_engine)
    assert header == EngineHeader(
        engine="rtx",
        version=tensorrt_rtx.__version__,
        devices=("sm86", "sm120"),
        declared_bytes=rtx_engine.stat().st_size,
        size_bytes=rtx_engine.stat().st_size,
    )
    assert header.fault("rtx") == ""
    assert refusal(header, "rtx", header.version, "sm86") == ""


@pytest.mark.parametrize("sm", ["sm75", "sm80", "sm86", "sm89", "sm120", "sm121"])
def test_a_real_engine_names_each_gpu_that_it_can_be_built_for(tmp_path: Path, sm: str) -> None:
    pytest.importorskip("tensorrt_rtx")
    path = tmp_path / "engine.rtx"
    _child(_BUILD, str(path), sm.upper())
    assert read_header(path).devices == (sm,)


def test_a_real_engine_cut_short_is_truncated(rtx_engine: Path, tmp_path: Path) -> None:
    whole = rtx_engine.read_bytes()
    path = tmp_path / "engine.rtx"
    for kept in (len(whole) - 1, 1000, 40):
        path.write_bytes(whole[:kept])
        assert read_header(path).fault("rtx") == f"is truncated: {kept} of {len(whole)} bytes"
    path.write_bytes(whole + b"more")
    assert "damaged" in read_header(path).fault("rtx")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"ftrt\0\0\0\0", "is truncated: 8 bytes"),
        (b"\x08\x08\x12\x07pytorch" * 9, "is no TensorRT engine"),
        (b"ft", "is no TensorRT engine"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "engine.plan"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=says) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert "bmopt build" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        read_header(tmp_path / "engine.plan")


def test_tensorrt_s_header_has_the_layout_that_trtexec_reads(tmp_path: Path) -> None:
    path = tmp_path / "engine.plan"
    path.write_bytes(_header(size=36))
    header = read_header(path)
    assert (header.engine, header.version, header.devices) == ("trt", "10.9.0.34", ())
    assert refusal(header, "trt", "11.4.0.106", "sm89") == (
        "was built by TensorRT 10.9.0.34, and this is 11.4.0.106"
    )
    assert refusal(header, "trt", "10.9.0.34", "sm89") == ""


def test_the_size_in_a_tensorrt_header_is_used_to_explain_only(tmp_path: Path) -> None:
    path = tmp_path / "engine.plan"
    path.write_bytes(_header(size=1 << 20))
    header = read_header(path)
    assert header.fault("trt") == ""
    assert "truncated: 36 of 1048576" in refusal(header, "trt", "10.9.0.34", "sm89")


def test_a_version_compatible_tensorrt_engine_is_not_taken_for_one_of_rtx(tmp_path: Path) -> None:
    path = tmp_path / "engine.plan"
    path.write_bytes(_header(tag=b"vtrt"))
    assert read_header(path).engine == "trt"


def test_engines_of_the_other_sdk_are_told_apart(rtx_engine: Path, tmp_path: Path) -> None:
    assert read_header(rtx_engine).fault("trt") == "is an engine of TensorRT-RTX, not of TensorRT"
    path = tmp_path / "engine.plan"
    path.write_bytes(_header())
    assert read_header(path).fault("rtx") == "is an engine of TensorRT, not of TensorRT-RTX"


def test_a_newer_layout_is_left_to_the_sdk(tmp_path: Path) -> None:
    path = tmp_path / "engine.plan"
    path.write_bytes(b"ftrt" + bytes([1, 0, 0, 0]) + b"\xff" * 60)
    header = read_header(path)
    assert (header.engine, header.version, header.damage) == (None, "", "")
    assert header.fault("rtx") == header.fault("trt") == ""


def test_an_engine_for_another_gpu_says_for_which(rtx_engine: Path) -> None:
    header = read_header(rtx_engine)
    assert refusal(header, "rtx", header.version, "sm89") == (
        "was built for sm86+sm120, and this GPU is sm89"
    )


@pytest.mark.parametrize("kept", [None, 3000, 100, 10, 0])
def test_the_sdk_refuses_without_a_driver_but_does_not_crash(
    rtx_engine: Path, tmp_path: Path, kept: int | None
) -> None:
    from bmopt.backends.nvinfer.device import why_no_gpu

    if not why_no_gpu():
        pytest.skip("this host has a GPU, so the whole engine may well be loaded")
    path = tmp_path / "engine.rtx"
    path.write_bytes(rtx_engine.read_bytes()[:kept])
    assert _child(_DESERIALISE, str(path)) == "INVALID True"


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (None, "HostError no NVIDIA"),
        (3000, "ArtifactError {path}: is truncated: 3000 of "),
        (10, "ArtifactError {path}: is truncated: 10 bytes"),
        (0, "ArtifactError {path}: is empty"),
    ],
)
def test_opening_without_a_gpu_tells_the_nearest_reason_in_one_line(
    rtx_engine: Path, tmp_path: Path, kept: int | None, says: str
) -> None:
    from bmopt.backends.nvinfer.device import why_no_gpu

    if not why_no_gpu():
        pytest.skip("this host has a GPU; tests marked gpu open engines there")
    path = tmp_path / "engine.rtx"
    path.write_bytes(rtx_engine.read_bytes()[:kept])
    said = _child(_OPEN, str(path))
    assert said.startswith(says.format(path=path))
    assert "\n" not in said
