"""A host whose ONNX Runtime has GPU providers: sessions run on the CPU and say otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from bmopt.backends.onnxruntime import engine_cache, gpu_session
from bmopt.core.host import Gpu, Host
from tests.backends.fake_hosts import host

_REAL = ort.InferenceSession
GPU = Gpu("H200", "580.1", 139 << 30, "9.0")
_ENTRIES = (
    "session.record_ep_graph_assignment_info",
    "session.disable_quant_qdq",
    "session.disable_qdq_constant_folding",
    "session.disable_double_qdq_remover",
)


@dataclasses.dataclass
class Opened:
    """How a session was asked for."""

    providers: list[tuple[str, dict[str, str]]]
    entries: dict[str, str]
    level: ort.GraphOptimizationLevel
    threads: int


class PretendGpu:
    """Takes the place of ``ort.InferenceSession``; the sessions are real ones on the CPU."""

    def __init__(self, refused: Sequence[str] = (), errors: Sequence[Exception] = ()) -> None:
        self.opened: list[Opened] = []
        self._refused = refused
        self._errors = list(errors)

    def __call__(
        self,
        source: str | bytes,
        options: ort.SessionOptions,
        providers: list[tuple[str, dict[str, str]]],
        *,
        enable_fallback: bool,
    ) -> Any:
        assert not enable_fallback
        self.opened.append(
            Opened(
                providers,
                {n: options.get_session_config_entry(n) for n in _ENTRIES if _has(options, n)},
                options.graph_optimization_level,
                options.intra_op_num_threads,
            )
        )
        if self._errors:
            raise self._errors.pop(0)
        session = _REAL(source, options, ["CPUExecutionProvider"])
        names = [name for name, _ in providers if name not in self._refused]
        session.get_providers = lambda: [*names, "CPUExecutionProvider"]
        return session


def _has(options: ort.SessionOptions, name: str) -> bool:
    try:
        options.get_session_config_entry(name)
    except RuntimeError:
        return False
    return True


def with_gpu() -> Host:
    return dataclasses.replace(host("x86_64", "avx2"), gpus=(GPU,))


def pretend(
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    refused: Sequence[str] = (),
    errors: Sequence[Exception] = (),
) -> PretendGpu:
    """Make this a host with a GPU, its cache in ``cache``."""
    sessions = PretendGpu(refused, errors)
    monkeypatch.setattr(ort, "InferenceSession", sessions)
    monkeypatch.setattr(gpu_session, "lacks", lambda device: "")
    monkeypatch.setattr(gpu_session, "host_facts", with_gpu)
    monkeypatch.setattr(engine_cache, "nvinfer_version", lambda: 101300)
    monkeypatch.setenv("BMOPT_CACHE_DIR", str(cache))
    return sessions
