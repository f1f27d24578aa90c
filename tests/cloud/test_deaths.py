"""Workers that are killed, and code that is deleted under them, cost a message nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from protloc.cloud.engine.messages import KILLS_FORGIVEN, give_back
from tests.cloud.conftest import Stack
from tests.cloud.test_stack import ask, send
from tests.waiting import Gate, until


@pytest.mark.parametrize("kills", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_a_killed_worker_gives_its_message_back_at_once_and_the_kill_is_no_receive(
    own_stack: Stack, tmp_path: Path, kills: int
) -> None:
    """The queue hides a message for long, and makes a dead letter of one that was received three times."""
    url = own_stack.outputs["Queue"]
    attributes = {"VisibilityTimeout": "43200"}
    own_stack.client("sqs").set_queue_attributes(QueueUrl=url, Attributes=attributes)
    gate = Gate(tmp_path / "gate")
    identity = send(own_stack, gate=str(gate.path))
    dead: set[int] = set()
    for _ in range(kills):
        until(lambda: gate.reached - dead)
        (worker,) = gate.reached - dead
        dead.add(worker)
        os.kill(worker, signal.SIGKILL)
    until(lambda: gate.reached - dead)
    gate.open()
    row = until(lambda: own_stack.rows("message").get(identity))
    assert row["received"]["S"] == "1"


def test_a_message_that_kills_its_worker_each_time_is_counted_in_the_end() -> None:
    message: dict[str, Any] = {"receive_count": 0, "receipt_handle": "r", "visible_at": time.time() + 43_200}
    counts = []
    for _ in range(KILLS_FORGIVEN + 3):
        message["receive_count"] += 1
        message["receipt_handle"] = "r"
        give_back(message, forgiven=True)
        counts.append(message["receive_count"])
    assert counts == [0] * KILLS_FORGIVEN + [1, 2, 3]


def test_a_function_whose_code_was_deleted_is_unpacked_again(own_stack: Stack) -> None:
    before, _ = ask(own_stack, "pid")
    worker = json.loads(before["body"])["pid"]
    shutil.rmtree(own_stack.cloud.home / "code")
    os.kill(worker, signal.SIGKILL)
    identity = send(own_stack)
    after, error = ask(own_stack, "pid")
    assert error is None
    assert json.loads(after["body"])["pid"] != worker
    until(lambda: identity in own_stack.rows("message"))


def test_a_function_that_was_deleted_while_it_ran_leaves_no_log_group(
    own_stack: Stack, tmp_path: Path
) -> None:
    """Its role, as which Lambda writes, was deleted with it."""
    gate, client = Gate(tmp_path / "gate"), own_stack.client("lambda")
    name, logs = own_stack.outputs["AnswerFunction"], own_stack.client("logs")

    def groups() -> list[str]:
        named = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
        return [each["logGroupName"] for each in named]

    ask(own_stack, "pid")
    (group,) = until(groups)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(ask, own_stack, "pid", gate=str(gate.path))
        try:
            until(lambda: gate.reached)
            client.delete_function(FunctionName=name)
            logs.delete_log_group(logGroupName=group)
        finally:
            gate.open()
        running.result()
    assert groups() == []
