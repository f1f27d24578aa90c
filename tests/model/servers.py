"""Helpers of both servers' tests: an unpacked artifact, a server of its own, and the answers it must give."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.serving.artifact import pack, unpack
from model.serving.inference import model_fn, predict_fn
from protloc.cloud import ports
from tests.children import child
from tests.model.tiny import build_tiny_artifact, random_sequences
from tests.waiting import LIMIT_SECONDS, until

JSON = "application/json"


def environment_of(variable: str) -> Path:
    """The `bin` folder of the environment that a variable names; the test is skipped where it names none."""
    if variable not in os.environ:
        pytest.skip(f"{variable} names no environment")
    return Path(os.environ[variable]).absolute() / "bin"


def unpacked(folder: Path) -> Path:
    """A tiny artifact as SageMaker lays it out for a container: packed, and unpacked into `folder`."""
    archive = pack(build_tiny_artifact(folder.with_name("tiny")), folder.with_name("model.tar.gz"))
    return unpack(archive, folder).folder


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with ports.hold_any() as bound:
        port: int = bound.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], folder: Path, url: str) -> Iterator[Path]:
    """A server until the block ends, from when `url` answers 200; gives the file with its output."""
    with started(command, environment, folder) as (server, log):
        until(lambda: server.poll() is not None or call(url)[0] == 200, log.read_text)
        assert server.poll() is None, log.read_text()
        yield log


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A server from its start until the block ends, and the file with its output."""
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            child(command), env=environment, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield server, log
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def call(
    url: str, body: bytes | None = None, content_type: str = JSON, accept: str = JSON
) -> tuple[int, str]:
    """Status and body of a call; status 0 where nobody answers."""
    headers = {"Content-Type": content_type, "Accept": accept}
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()
    except OSError:
        return 0, ""


def body(sequences: Sequence[object], **more: object) -> bytes:
    """A request's body."""
    return json.dumps({"sequences": sequences} | more).encode()


def expect_the_contract(folder: Path, invocations: str) -> None:
    """The server at `invocations` answers as the four functions do, and refuses the same requests."""
    sequences = random_sequences([30, 200, 1, 700])
    status, answer = call(invocations, body([*sequences, "not one"], attention=True))
    assert status == 200
    answers = json.loads(answer)["predictions"]
    expected = predict_fn(sequences, model_fn(str(folder)))["predictions"]
    for one, other in zip(answers[:-1], expected, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
        assert len(one["attention"]) == one["residues_read"]
    assert answers[3]["truncated"] is True
    assert answers[4] == {"error": "expected upper-case letters A-Z, found another character at position 1"}

    secret = "MWWHKWCWWHMKCWYM"
    status, answer = call(invocations, f'{{"sequences": ["{secret}"'.encode())
    assert status == 400 and "expected JSON in UTF-8" in answer and secret not in answer
    assert call(invocations, body([]))[0] == 400
    assert call(invocations, body(["M"] * 257))[0] == 400
    assert call(invocations, b">P1\nMKV", content_type="text/x-fasta")[0] == 415
    assert call(invocations, body(["MKV"]), accept="text/csv")[0] == 406
    assert call(invocations, body(["MKV"]))[0] == 200  # and goes on
