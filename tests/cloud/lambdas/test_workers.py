"""Function processes, without a cloud around them: AWS's runtime client and the stand-in for its compiled
part.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from protloc.cloud.lambdas import workers
from protloc.cloud.lambdas.pool import WorkerPool
from protloc.cloud.lambdas.workers import Function, Worker
from tests.waiting import LIMIT_SECONDS, Gate, until

CODE = (
    f"""
{Gate.source}"""
    + """
import os

def handler(event, context):
    print("seen", context.aws_request_id)
    if event.get("raise"):
        raise KeyError("missing")
    if event.get("large"):
        return "x" * event["large"]
    if "gate" in event:
        pass_gate(event["gate"])
    return {"pid": os.getpid(), "left": context.get_remaining_time_in_millis(), "echo": event.get("echo")}
"""
)


@pytest.fixture(params=["compiled", "plain"])
def function(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Function:
    if request.param == "plain":
        start = workers.subprocess.Popen
        monkeypatch.setattr(
            workers.subprocess, "Popen", lambda command, **named: start([*command, "--plain"], **named)
        )
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "module.py").write_text(CODE)
    return Function(
        "f", "arn:f", "1", "module.handler", 600, 128, tmp_path / "code", {"AWS_REGION": "us-east-1"}
    )


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WorkerPool]:
    pool = WorkerPool(tmp_path / "tmp", 4, 2)
    yield pool
    pool.stop()


def call(pool: WorkerPool, function: Function, **event: object) -> workers.Outcome:
    return pool.invoke(function, json.dumps(event).encode(), f"request-{time.monotonic_ns()}")


def test_an_event_is_answered_and_the_process_used_again(pool: WorkerPool, function: Function) -> None:
    first, second = call(pool, function, echo="ü"), call(pool, function, echo=2)
    assert (first.error, first.payload["echo"], second.payload["echo"]) == (False, "ü", 2)
    assert first.payload["pid"] == second.payload["pid"]
    assert 0 < first.payload["left"] <= 600_000
    assert "seen request-" in first.log
    assert first.log.count("seen") == second.log.count("seen") == 1


def test_an_error_carries_its_type_and_leaves_the_process_usable(
    pool: WorkerPool, function: Function
) -> None:
    failed = call(pool, function, **{"raise": 1})
    assert (failed.error, failed.payload["errorType"]) == (True, "KeyError")
    assert not call(pool, function).error


def test_large_events_and_answers_pass(pool: WorkerPool, function: Function) -> None:
    size = 5 * 1024 * 1024
    assert len(call(pool, function, large=size, filler="y" * size).payload) == size


def test_a_handler_that_cannot_be_loaded_is_an_init_error(pool: WorkerPool, function: Function) -> None:
    outcome = call(pool, replace(function, handler="nowhere.handler"))
    assert outcome.payload["errorType"] == "Runtime.ImportModuleError"


def test_a_timed_out_process_is_ended_and_another_takes_over(
    pool: WorkerPool, function: Function, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, ahead = Gate(tmp_path / "gate"), [0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0], time=time.time, sleep=time.sleep)
    monkeypatch.setattr(workers, "time", clock)
    before = call(pool, function).payload["pid"]
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(call, pool, function, gate=str(gate.path))
        until(lambda: gate.reached)
        ahead[0] = function.timeout_seconds
        assert slow.result().payload["errorType"] == "Sandbox.Timedout"
    assert gate.reached == {before}
    assert not psutil.pid_exists(before)
    assert call(pool, function).payload["pid"] != before


def test_changed_settings_get_a_process_of_their_own(pool: WorkerPool, function: Function) -> None:
    before = call(pool, function).payload["pid"]
    changed = replace(function, environment={**function.environment, "NEW": "1"})
    assert call(pool, changed).payload["pid"] != before
    until(lambda: not psutil.pid_exists(before))


def test_a_process_whose_starter_is_gone_ends(function: Function, tmp_path: Path) -> None:
    worker = Worker(function, tmp_path / "tmp")
    worker.invoke(b"{}", "request-1")
    # A starter that is not its parent counts as gone.
    orphan = subprocess.Popen(
        [sys.executable, "-P", str(workers.RUNTIME), "1"],
        env=workers.clean_environment(function, "127.0.0.1:9", tmp_path),
    )
    until(lambda: orphan.poll() is not None)
    worker.stop()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_SECONDS)
    connection.request(method, path, body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_stranger_takes_no_event_and_answers_none(
    pool: WorkerPool, function: Function, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    ports_before = {connection.laddr.port for connection in psutil.Process().net_connections()}
    with ThreadPoolExecutor(1) as threads:
        called = threads.submit(
            pool.invoke, function, json.dumps({"gate": str(gate.path)}).encode(), "the-id"
        )
        try:
            until(lambda: gate.reached)
            listening = {
                each.laddr.port
                for each in psutil.Process().net_connections()
                if each.status == psutil.CONN_LISTEN and each.laddr.port not in ports_before
            }
            assert listening
            for port in listening:
                for start in ("", "/", "/wrong", "/" + "A" * 43):
                    api = f"{start}/2018-06-01/runtime"
                    assert ask(port, "GET", f"{api}/invocation/next") == 403
                    assert ask(port, "POST", f"{api}/invocation/the-id/response", b'"forged"') == 403
                    assert ask(port, "POST", f"{api}/invocation/the-id/error", b"{}") == 403
                    assert ask(port, "POST", f"{api}/init/error", b"{}") == 403
                with socket.create_connection(("127.0.0.1", port)) as rude:
                    rude.sendall(b"\r\n\r\nGET /\r\nContent-Length: x\r\n\r\n")
        finally:
            gate.open()
    assert called.result().payload["pid"] in gate.reached


def test_an_error_before_the_first_event_is_reported(pool: WorkerPool, function: Function) -> None:
    (function.task_root / "module.py").write_text("raise ValueError('no model')")
    outcome = call(pool, function)
    assert (outcome.error and outcome.payload["errorType"] == "Runtime.ImportModuleError") or (
        outcome.payload["errorType"] == "ValueError"
    ), outcome
    assert "no model" in json.dumps(outcome.payload)
