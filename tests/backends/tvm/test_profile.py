from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.backends.tvm.profile import profile_library, times_of
from bmopt.core.engine import EngineBuild, Kernel
from bmopt.core.profile import LayerProfile, LayerTime
from bmopt.errors import DataError
from tests.backends.tvm.installed import RESIDUAL, compiled, model_of, needs_tvm, saved


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def built(folder: Path) -> EngineBuild:
    """The build of ``model.so`` in the folder."""
    return compiled(saved(model_of(RESIDUAL), folder), folder / "model.so")


def _feeds(batch: int = 64) -> dict[str, Any]:
    random = np.random.default_rng(batch)
    return {"image": random.standard_normal((batch, 4, 8, 8)).astype(np.float32)}


@needs_tvm
def test_functions_take_the_time_that_an_inference_takes(folder: Path, built: EngineBuild) -> None:
    found = profile_library(
        folder / "model.so", built.kernels, [_feeds()], threads=1, inferences=60, seconds=5.0
    )
    assert (found.engine, found.threads) == ("tvm", 1)
    assert 5 <= found.inferences <= 60
    assert 0 < found.event_ns < 20_000
    assert 0 < found.layers_ns < 1.5 * found.profiled_wall_ns
    assert all(0 <= layer.ns <= layer.profiled_ns for layer in found.layers)
    computing = [layer for layer in found.layers if "first" in layer.nodes]
    assert computing
    assert {layer.dtype for layer in computing} == {"float"}
    assert all(layer.schedule for layer in computing)


@needs_tvm
def test_every_node_has_its_time(folder: Path, built: EngineBuild) -> None:
    found = profile_library(
        folder / "model.so", built.kernels, [_feeds(1)], threads=1, inferences=5, seconds=1.0
    )
    told = {node for layer in found.layers for node in layer.nodes}
    assert told >= {"first", "second", "third", "fourth", "fifth", "sixth", "eighth"}
    times = times_of(found, built.kernels)
    assert len(times) == len(built.kernels)
    assert sum(time is not None for time in times) == len(found.layers)


@needs_tvm
def test_without_feeds_nothing_is_profiled(folder: Path, built: EngineBuild) -> None:
    with pytest.raises(DataError, match="no inputs to profile with"):
        profile_library(folder / "model.so", built.kernels, [])


def _kernel(name: str) -> Kernel:
    return Kernel(name, name, ("float",), (), ("float",), (f"node of {name}",))


def _profile(*names: str) -> LayerProfile:
    layers = tuple(
        LayerTime(name, name, "tvm", "float", (), 10.0 * (place + 1), 0.0)
        for place, name in enumerate(names)
    )
    return LayerProfile("tvm", 1, 5, layers, 100.0, 100.0, 0.0, 0.0)


def test_times_are_those_of_the_calls_in_order() -> None:
    kernels = [_kernel(name) for name in ("conv", "reshape", "conv", "pool", "conv")]
    times = times_of(_profile("conv", "conv", "pool", "conv"), kernels)
    assert times == [10.0, None, 20.0, 30.0, 40.0]
    assert times_of(_profile("shapes", "pool"), kernels) == [None, None, None, 20.0, None]
    assert times_of(_profile(), kernels) == [None] * 5
