"""The archive in TorchServe itself.

It needs Java 17 and ``pip install torchserve torch-model-archiver torch pyyaml psutil``, in an
environment from which this test is run with ``-m slow``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bundle.formats.serving import write_format
from tests.bundle.formats.packed_models import IMAGES, write_packed

_START_S = 90

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="no Java"),
    pytest.mark.skipif(importlib.util.find_spec("ts") is None, reason="no TorchServe"),
]


def test_torchserve_loads_the_archive_and_answers(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES)
    write_format("torchserve", bundle, tmp_path / "store/net.mar")
    place = bundle / "golden/m0/0"
    expected = np.load(place / "output_0.npy")
    values = np.load(place / "input_0.npy")
    with served(tmp_path) as (inference, management):
        settings = wait_until_ready(f"{management}/models/net")
        assert settings["batchSize"] == 8
        url = f"{inference}/predictions/net"
        for body, kind in (
            ((place / "input_0.npy").read_bytes(), "application/octet-stream"),
            (json.dumps({"pixels": values.tolist()}).encode(), "application/json"),
        ):
            status, answer = post(url, body, kind)
            assert status == 200, answer
            np.testing.assert_allclose(answer["outputs"]["scores"], expected, atol=1e-4)
        status, answer = post(url, b"nothing", "application/octet-stream")
        assert status == 400
        assert "error" in answer


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the addresses of a server with the archives in ``folder/store``."""
    ports = free_ports(5)
    inference, management = (f"http://127.0.0.1:{port}" for port in ports[:2])
    settings = {
        "inference_address": inference,
        "management_address": management,
        "metrics_address": f"http://127.0.0.1:{ports[2]}",
        "grpc_inference_port": ports[3],
        "grpc_management_port": ports[4],
        "disable_token_authorization": "true",
        "model_store": folder / "store",
        "load_models": "net.mar",
    }
    file = folder / "config.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    logs = str(folder / "logs")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "LOG_LOCATION": logs, "METRICS_LOCATION": logs, "PATH": path}
    program = "from ts.model_server import start; start()"
    argv = [sys.executable, "-c", program, "--foreground", "--start", "--ncs"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*argv, "--ts-config", str(file)],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield inference, management
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until_ready(url: str) -> dict[str, Any]:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        found = state(url)
        if any(worker["status"] == "READY" for worker in found.get("workers", ())):
            return found
        time.sleep(0.5)
    raise AssertionError(f"the model's worker was not ready after {_START_S} s")


def state(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)[0]
            return found
    except (OSError, ValueError):
        return {}


def post(url: str, body: bytes, kind: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
