"""SageMaker's own inference toolkit (TorchServe behind it, no container) serves a packed artifact."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.model.servers import (
    body,
    call,
    environment_of,
    expect_the_contract,
    free_port,
    running,
    unpacked,
)

pytestmark = pytest.mark.toolkit


def test_the_toolkit_serves_a_packed_artifact(tmp_path: Path) -> None:
    programs = environment_of("PROTLOC_SERVING_TOOLKIT")
    base = tmp_path / "ml"
    folder = unpacked(base / "model")
    port = free_port()
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_SAFE_PORT_RANGE": f"{port + 1}-{port + 9}",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "TS_DISABLE_SYSTEM_METRICS": "true",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    url = f"http://127.0.0.1:{port}"
    with running([str(programs / "serve")], environment, tmp_path, f"{url}/ping") as log:
        expect_the_contract(folder, f"{url}/invocations")
        secret = "MWWHKWCWWHMKCWYM"
        assert call(f"{url}/invocations", body([secret, secret.lower()]))[0] == 200
        printed = log.read_text(encoding="utf-8", errors="replace") + "".join(
            path.read_text(encoding="utf-8", errors="replace") for path in tmp_path.rglob("logs/*.log")
        )
    assert secret not in printed.upper()
