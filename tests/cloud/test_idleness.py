"""A cloud that is told to ends itself in order once nothing was asked of it for so long, and no sooner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from protloc.cloud import connection, deploy, lifecycle
from protloc.cloud.idleness import Idleness
from tests.cloud.conftest import STACK, Stack
from tests.cloud.sagemaker.test_sagemaker import job, put
from tests.cloud.test_lifecycle import ended
from tests.cloud.test_stack import send
from tests.waiting import Gate, until

MOMENT, LONG = 0.5, 86400.0


def idle_seconds(stack: Stack) -> float:
    health = connection.health(stack.cloud.port, stack.cloud.home)
    assert health is not None
    return float(health["idle_seconds"])


def wait_for_end(stack: Stack) -> None:
    process = psutil.Process(stack.cloud.pid)
    until(lambda: ended(process), lambda: idle_seconds(stack))


@pytest.fixture
def idle_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of a cloud that ends itself after a day."""
    home = tmp_path / "home"
    try:
        cloud = lifecycle.up(home, idle_seconds=LONG)
        yield Stack(cloud, deploy.deploy(cloud, STACK, "test"))
    finally:
        lifecycle.down(home, erase=True)


def test_time_without_requests_and_work_is_counted() -> None:
    now, works = [0.0], [False]
    idleness = Idleness(lambda: works[0], lambda: now[0])
    now[0] = 5
    assert idleness.seconds() == 5
    with idleness.request():
        now[0] = 7
        assert idleness.seconds() == 0
        now[0] = 9
    now[0] = 10
    assert idleness.seconds() == 1
    works[0] = True
    assert idleness.seconds() == 0
    works[0], now[0] = False, 13
    assert idleness.seconds() == 3


def test_an_idle_cloud_ends_in_order_and_is_there_again_with_all_it_had(idle_stack: Stack) -> None:
    address = put(idle_stack, "models/kept", b"kept")
    lifecycle.up(idle_stack.cloud.home, idle_seconds=MOMENT)  # it runs already: that is said to it
    wait_for_end(idle_stack)
    status = lifecycle.status(idle_stack.cloud.home)
    assert status["state"] == "stopped" and status["ends_after_idle_seconds"] is None
    again = Stack(lifecycle.up(idle_stack.cloud.home), idle_stack.outputs)
    assert lifecycle.status(again.cloud.home)["ends_after_idle_seconds"] is None  # it was of that run alone
    bucket, key = address.removeprefix("s3://").split("/", 1)
    assert again.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() == b"kept"


def test_a_training_keeps_the_cloud_up_and_afterwards_it_ends(idle_stack: Stack, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    name = job(idle_stack, factor="1", gate=str(gate.path))
    until(lambda: gate.reached)
    assert idle_seconds(idle_stack) == 0
    lifecycle.up(idle_stack.cloud.home, idle_seconds=MOMENT)
    assert idle_seconds(idle_stack) == 0
    gate.open()
    wait_for_end(idle_stack)
    again = lifecycle.up(idle_stack.cloud.home)
    jobs = again.client("sagemaker").list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"]
    assert [each["TrainingJobName"] for each in jobs] == [name]


def test_looking_at_the_cloud_does_not_keep_it_up_and_asking_it_does(idle_stack: Stack) -> None:
    before = until(lambda: seconds if (seconds := idle_seconds(idle_stack)) > 3 else 0)
    status = lifecycle.status(idle_stack.cloud.home)
    assert status["ends_after_idle_seconds"] == LONG and status["idle_seconds"] >= before
    assert idle_seconds(idle_stack) >= before
    storage = idle_stack.client("s3")
    until(lambda: storage.list_buckets() and idle_seconds(idle_stack) < before)


def test_a_message_that_waits_for_a_function_is_work(idle_stack: Stack, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    send(idle_stack, gate=str(gate.path))
    until(lambda: gate.reached)
    assert idle_seconds(idle_stack) == 0
    gate.open()
    until(lambda: idle_seconds(idle_stack) > 0)
