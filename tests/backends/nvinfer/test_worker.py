"""What the worker asks of TensorRT 10 and 11, told by a module that notes the calls."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from bmopt.backends.nvinfer import sdk, worker
from bmopt.backends.nvinfer.build_spec import BuildOutcome, BuildSpec
from bmopt.core.engine import BuildOptions, Profile
from bmopt.errors import BuildError, HostError
from tests.backends.nvinfer.fake_trt import PLAN, FakeTrt, tensor

_VERSIONS = ("10.16.1", "11.4.1")
_PROFILE = Profile((1, 3), (4, 3), (8, 3))


def _run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: FakeTrt, **options: Any
) -> tuple[BuildOutcome, BuildSpec]:
    monkeypatch.setattr(sdk, "load", lambda engine: module)
    spec = BuildSpec(
        "trt",
        tmp_path / "model.onnx",
        tmp_path / "engine.plan",
        tmp_path,
        (),
        BuildOptions(**options),
    )
    return worker.build(spec, io.StringIO()), spec


def _set(module: FakeTrt) -> list[str]:
    return [call[1] for call in module.calls if call[0] == "set_flag"]


@pytest.mark.parametrize(("version", "flags"), [("10.7.0", 1 << 1), ("11.4.1", 1 << 0)])
def test_the_network_takes_its_types_from_the_graph(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, flags: int
) -> None:
    module = FakeTrt(version)
    outcome, spec = _run(monkeypatch, tmp_path, module)
    assert ("create_network", flags) in module.calls
    assert ("parse_from_file", str(spec.graph)) in module.calls
    assert _set(module) == []
    assert ("profiling_verbosity", "DETAILED") in module.calls
    assert spec.out.read_bytes() == PLAN
    assert outcome.version == version
    assert outcome.warnings == ()


def test_an_sdk_without_the_flag_is_not_given_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FakeTrt("11.9.0")
    module.NetworkDefinitionCreationFlag = object()
    _run(monkeypatch, tmp_path, module)
    assert ("create_network", 0) in module.calls


@pytest.mark.parametrize("version", _VERSIONS)
def test_options_become_flags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    module = FakeTrt(version)
    options = {"weight_streaming": True, "sparse": True, "refit": True, "strip": True}
    _run(monkeypatch, tmp_path, module, level=4, workspace_bytes=1 << 20, **options)
    assert _set(module) == ["REFIT", "STRIP_PLAN", "WEIGHT_STREAMING", "SPARSE_WEIGHTS"]
    assert ("builder_optimization_level", 4) in module.calls
    assert ("set_memory_pool_limit", "WORKSPACE", 1 << 20) in module.calls


def test_a_plan_without_weights_takes_back_the_same_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FakeTrt("11.4.1")
    _run(monkeypatch, tmp_path, module, strip=True)
    assert _set(module) == ["REFIT_IDENTICAL", "STRIP_PLAN"]


def test_what_is_not_asked_for_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FakeTrt("11.4.1")
    _run(monkeypatch, tmp_path, module)
    untouched = {"builder_optimization_level", "set_memory_pool_limit", "create_timing_cache"}
    assert not untouched & set(module.names())


@pytest.mark.parametrize("version", _VERSIONS)
def test_compatibility(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    module = FakeTrt(version)
    _run(monkeypatch, tmp_path, module, compat="version")
    assert _set(module) == ["VERSION_COMPATIBLE"]
    assert ("engine_host_code_allowed", True) in module.calls
    other = FakeTrt(version)
    _run(monkeypatch, tmp_path, other, compat="hardware")
    assert ("hardware_compatibility_level", "AMPERE_PLUS") in other.calls
    assert "engine_host_code_allowed" not in other.names()


def test_an_option_that_the_version_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FakeTrt("10.0.1")
    del module.HardwareCompatibilityLevel
    with pytest.raises(BuildError, match=r"^TensorRT 10.0.1 has no HardwareCompatibilityLevel"):
        _run(monkeypatch, tmp_path, module, compat="hardware")


def test_the_dla_of_tensorrt_10(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = FakeTrt("10.3.0", dla_cores=2)
    _run(monkeypatch, tmp_path, module, dla=1)
    assert ("default_device_type", "DLA") in module.calls
    assert ("DLA_core", 1) in module.calls
    assert _set(module) == ["GPU_FALLBACK"]
    with pytest.raises(BuildError, match=r"DLA core 2: TensorRT 10\.3\.0 has 2 DLA cores"):
        _run(monkeypatch, tmp_path, module, dla=2)


def test_the_engine_of_a_dla_is_opened_on_its_core(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FakeTrt("10.3.0", dla_cores=2)
    _run(monkeypatch, tmp_path, module, dla=1)
    cores = [index for index, call in enumerate(module.calls) if call == ("DLA_core", 1)]
    assert len(cores) == 2, "of the builder and of the runtime"
    assert cores[1] < module.names().index("deserialize_cuda_engine")


def test_a_host_without_dla(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"DLA core 0: TensorRT 11.4.0 has no DLA here"):
        _run(monkeypatch, tmp_path, FakeTrt("11.4.0"), dla=0)


@pytest.mark.parametrize("version", _VERSIONS)
def test_the_timing_cache_is_read_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    path = tmp_path / "timings"
    module = FakeTrt(version)
    _run(monkeypatch, tmp_path, module, timing_cache=str(path))
    assert ("create_timing_cache", b"") in module.calls
    assert _set(module) == ["EDITABLE_TIMING_CACHE"]
    assert path.read_bytes() == b"timings"
    again = FakeTrt(version)
    outcome, _ = _run(monkeypatch, tmp_path, again, timing_cache=str(path))
    assert ("create_timing_cache", b"timings") in again.calls
    assert ("set_timing_cache", ("cache", b"timings"), False) in again.calls
    assert outcome.warnings == ()


def test_an_older_timing_cache_is_not_editable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FakeTrt("10.7.0")
    _run(monkeypatch, tmp_path, module, timing_cache=str(tmp_path / "timings"))
    assert _set(module) == []
    assert (tmp_path / "timings").read_bytes() == b"timings"


def test_a_foreign_timing_cache_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "timings"
    path.write_bytes(b"another GPU's")
    module = FakeTrt("11.4.1", usable_cache=False)
    outcome, _ = _run(monkeypatch, tmp_path, module, timing_cache=str(path))
    assert module.calls.index(("set_timing_cache", ("cache", b""), False)) > 0
    assert outcome.warnings == (
        f"{path}: timing cache of another version or GPU; its timings are not used",
    )
    assert path.read_bytes() == b"timings"


def test_a_timing_cache_that_cannot_be_written_costs_no_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "timings"
    module = FakeTrt("11.4.1")
    outcome, spec = _run(monkeypatch, tmp_path, module, timing_cache=str(path))
    assert spec.out.is_file()
    assert outcome.warnings[0].endswith("the timings of this build are lost")


@pytest.mark.parametrize("version", _VERSIONS)
def test_dynamic_inputs_get_a_profile_and_the_inspector_their_usual_shape(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    module = FakeTrt(version, inputs=[tensor("x", (-1, 3)), tensor("z", (2, 2))])
    _run(monkeypatch, tmp_path, module, profiles={"x": _PROFILE})
    assert ("set_shape", "x", (1, 3), (4, 3), (8, 3)) in module.calls
    names = module.names()
    assert names.count("set_shape") == names.count("add_optimization_profile") == 1
    assert ("set_input_shape", "x", (4, 3)) in module.calls
    assert names.index("execution_context") < names.index("get_engine_information")


def test_fixed_inputs_need_neither(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = FakeTrt("11.4.1", inputs=[tensor("x", (4, 3))])
    _run(monkeypatch, tmp_path, module)
    assert not {"set_shape", "create_execution_context"} & set(module.names())


def test_an_input_that_holds_a_shape_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FakeTrt("11.4.1", inputs=[tensor("n", (-1, 3), is_shape_tensor=True)])
    with pytest.raises(BuildError, match="input 'n' holds a shape"):
        _run(monkeypatch, tmp_path, module, profiles={"n": _PROFILE})
    # No axis is dynamic, yet the engine would ask for a profile of its values.
    module = FakeTrt("11.4.1", inputs=[tensor("n", (1,), is_shape_tensor=True)])
    with pytest.raises(BuildError, match="input 'n' holds a shape"):
        _run(monkeypatch, tmp_path, module)


def test_keeps_what_the_inspector_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = FakeTrt("11.4.1", inspection='{"Layers": ["a"]}')
    _, spec = _run(monkeypatch, tmp_path, module)
    assert ("get_engine_information", "JSON") in module.calls
    assert json.loads(spec.inspection.read_text()) == {"Layers": ["a"]}


@pytest.mark.parametrize("missing", [{"inspects": False}, {"inspection": None}])
def test_an_engine_that_is_not_described_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: dict[str, Any]
) -> None:
    module = FakeTrt("11.4.1", **missing)
    outcome, spec = _run(monkeypatch, tmp_path, module, compat="version")
    assert outcome.warnings == (
        "TensorRT does not describe this engine, so its kernels are not known",
    )
    assert spec.out.is_file()
    assert not spec.inspection.exists()


def test_an_engine_that_cannot_be_opened_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FakeTrt("11.4.1", opens_plan=False)
    outcome, spec = _run(monkeypatch, tmp_path, module)
    assert outcome.warnings == ("the engine cannot be opened here, so its kernels are not known",)
    assert spec.out.is_file()
    assert not spec.inspection.exists()


def test_a_failed_build_tells_what_the_logger_heard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(BuildError) as caught:
        _run(monkeypatch, tmp_path, FakeTrt("11.4.1", plan=None))
    assert str(caught.value) == "TensorRT cannot build the engine: No kernel for 'x'"


def test_a_failure_inside_the_sdk_says_what_to_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    says = "IBuilder: Error Code 2: Internal Error (Assertion x != y failed. )"
    with pytest.raises(BuildError, match=r"Assertion x != y failed; .* try another version"):
        _run(monkeypatch, tmp_path, FakeTrt("11.4.1", plan=None, says=says))


def test_a_missing_lean_runtime_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    says = (
        "IBuilder: Error Code 6: API Usage Error (Unable to load library: libnvinfer_lean.so.11)"
    )
    module = FakeTrt("11.4.1", plan=None, says=says)
    with pytest.raises(BuildError, match=r"libnvinfer_lean.*leave --compat version out$"):
        _run(monkeypatch, tmp_path, module, compat="version")


def test_a_builder_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(logger: Any) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    module = FakeTrt("10.16.1")
    monkeypatch.setattr(module, "Builder", refuse, raising=False)
    with pytest.raises(HostError, match=r"^TensorRT does not start here .*check the driver"):
        _run(monkeypatch, tmp_path, module)
