"""Ray Serve starts a packed artifact as AWS's container does, and gathers requests into true batches."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model.serving.inference import model_fn, predict_fn
from tests.model.servers import (
    body,
    call,
    environment_of,
    expect_the_contract,
    free_port,
    running,
    started,
    unpacked,
)
from tests.model.tiny import random_sequences
from tests.waiting import until

# Put behind the artifact's own code: it notes how many requests were answered at once, and breaks on a word.
WATCHED = """
_predict_many = predict_many


def predict_many(requests, model):
    with open({path!r}, "a") as file:
        file.write(f"{{len(requests)}}\\n")
    if any("BROKEN" in request.sequences for request in requests):
        raise RuntimeError("broken on purpose")
    return _predict_many(requests, model)
"""


def serve_run(folder: Path) -> tuple[list[str], dict[str, str], str]:
    """The command that serves the artifact in `folder` as the container does, its environment and its URL."""
    programs, port = environment_of("PROTLOC_RAY"), free_port()
    config = folder / "config.yaml"
    config.write_text(config.read_text() + f"http_options: {{host: 127.0.0.1, port: {port}}}\n")
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder.parent),
        "PYTHONPATH": str(folder),  # all that the container sets
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": "/tmp",  # its sockets' names must be short
        "HF_HUB_OFFLINE": "1",
    }
    return [str(programs / "serve"), "run", str(config)], environment, f"http://127.0.0.1:{port}"


@pytest.mark.toolkit
def test_a_model_that_cannot_be_loaded_leaves_the_container_unhealthy(tmp_path: Path) -> None:
    """The container's `/ping` is Ray's `/-/healthz`, which also is 200 where no replica can start."""
    folder = unpacked(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    command, environment, url = serve_run(folder)
    with started(command, environment, tmp_path) as (_, log):
        until(lambda: "SafetensorError" in log.read_text(), log.read_text)
        assert call(f"{url}/-/healthz") == (503, "Route table is not populated yet.")


@pytest.mark.toolkit
def test_ray_serve_serves_a_packed_artifact_in_true_batches(tmp_path: Path) -> None:
    folder, batches = unpacked(tmp_path / "model"), tmp_path / "batches"
    with (folder / "code" / "model" / "serving" / "inference.py").open("a") as code:
        code.write(WATCHED.format(path=str(batches)))
    command, environment, url = serve_run(folder)
    with running(command, environment, tmp_path, f"{url}/ping") as log:
        assert call(f"{url}/-/healthz")[0] == 200  # the container's own adapter takes this for the ping
        expect_the_contract(folder, f"{url}/invocations")
        expect_the_contract(folder, f"{url}/")  # where the container's own adapter sends invocations
        assert call(f"{url}/elsewhere", body(["MKV"]))[0] == 404

        secret = "MWWHKWCWWHMKCWYM"
        sequences = [[*random_sequences([length], seed=length), secret] for length in range(20, 44)]
        bodies = [body(one) for one in sequences]
        bodies[7] = body(["BROKEN", secret])
        bodies[11] = body(["M"] * 257)
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda one: call(f"{url}/invocations", one), bodies))
        printed = log.read_text()
    assert secret not in printed
    assert answers[7] == (500, '{"error": "the model failed with RuntimeError"}')
    assert answers[11][0] == 400
    model = model_fn(str(folder))
    for index, (status, answer) in enumerate(answers):
        if index not in (7, 11):
            assert status == 200
            (predictions, _), (expected, _) = (
                json.loads(answer)["predictions"],
                predict_fn(sequences[index], model)["predictions"],
            )
            assert predictions["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    assert max(int(line) for line in batches.read_text().splitlines()) > 3
