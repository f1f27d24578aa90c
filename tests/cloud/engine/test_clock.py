"""A clock that is set by an hour, back or forward, neither holds up the cloud nor has anything done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from protloc.cloud import deploy, lifecycle
from protloc.cloud.engine.clock import Clock
from tests.cloud.conftest import STACK, Stack
from tests.cloud.test_stack import send
from tests.waiting import Gate, until

SHIFTED = """
import os, time
real = time.time

def shifted():
    try:
        with open(os.environ["PROTLOC_TEST_CLOCK"]) as file:
            return real() + float(file.read() or 0)
    except (KeyError, OSError, ValueError):
        return real()

time.time = shifted
"""


@pytest.fixture
def offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says by how many seconds the clock of a cloud that is started now is wrong."""
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(SHIFTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "python"))
    monkeypatch.setenv("PROTLOC_TEST_CLOCK", str(tmp_path / "offset"))
    return tmp_path / "offset"


@pytest.fixture
def shifting(offset: Path, tmp_path: Path) -> Iterator[Stack]:
    cloud = lifecycle.up(tmp_path / "home")
    yield Stack(cloud, deploy.deploy(cloud, STACK, "test"))
    lifecycle.down(cloud.home, erase=True)


@pytest.mark.parametrize("hour", [3600.0, -3600.0])
def test_a_step_of_the_clock_is_noticed_once(hour: float) -> None:
    wall, steady, steps = [1_000_000.0], [50.0], list[float]()
    clock = Clock(steps.append, lambda: wall[0], lambda: steady[0])
    for seconds, step in ((1.0, 0.0), (2.0, 0.4), (1.0, hour), (1.0, 0.0)):
        wall[0] += seconds + step
        steady[0] += seconds
        clock.look()
    assert steps == [pytest.approx(hour)]


def test_a_clock_set_back_by_an_hour_delays_no_message(shifting: Stack, offset: Path) -> None:
    body = json.dumps({"id": "late"})
    shifting.client("sqs").send_message(QueueUrl=shifting.outputs["Queue"], MessageBody=body, DelaySeconds=5)
    offset.write_text("-3600")
    until(lambda: "late" in shifting.rows("message"))
    identity = send(shifting)
    until(lambda: identity in shifting.rows("followed"))


def test_a_clock_set_forward_by_an_hour_has_nothing_delivered_twice(
    shifting: Stack, offset: Path, tmp_path: Path
) -> None:
    url = shifting.outputs["Queue"]
    shifting.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1800"})
    gate = Gate(tmp_path / "gate")
    held = send(shifting, gate=str(gate.path))
    until(lambda: gate.reached)
    offset.write_text("3600")
    until(lambda: "the clock was set forward" in (shifting.cloud.home / "cloud.log").read_text())
    after = send(shifting)
    until(lambda: after in shifting.rows("message"))
    gate.open()
    row = until(lambda: shifting.rows("message").get(held))
    assert row["received"]["S"] == "1"
