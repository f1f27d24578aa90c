"""One execution on a bad day: throttled everywhere, answers lost, names taken, servers that never start."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from protloc.cloud.contracts import integrations
from tests.retraining.machine import Asked, Ended, TaskError
from tests.retraining.schedule import START, real_machine
from tests.retraining.surroundings import Cloud, iso
from tests.template.test_template import SOURCE

EVENTS = 25_000  # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
LOCK_SECONDS = 270_000
Trouble = Callable[[Asked, int], str]


def never(_asked: Asked, _count: int) -> str:
    return ""


class Lucky(Random):
    """Every job is done, every server starts, every challenger is better."""

    def random(self) -> float:
        return 0.5

    def choices(self, population: Any, *_others: Any, **_more: Any) -> list[Any]:
        return [population[0]]


class Day:
    """The world around one execution, and its end."""

    def __init__(self) -> None:
        self.now = START
        self.cloud = Cloud(Lucky(), lambda: self.now)
        self.cloud.labels = 1
        self.machine = real_machine(lambda: self.now)
        self.reached: list[str] = []
        self.events = 0

    def run(self, execution_input: dict[str, Any], refused: Trouble = never, lost: Trouble = never) -> Ended:
        """`refused` and `lost` name the error of a call; where an answer was lost, the call was carried out."""
        counts: dict[str, int] = {}
        run = self.machine.run("me", execution_input, iso(self.now))
        try:
            asked = next(run)
            while True:
                self.now += 1
                waits = asked.resource == "wait"
                # Entered, scheduled, started, ended, left, and four of what stands behind it; of a wait two.
                self.events += 2 if waits else 9
                assert self.events < EVENTS, (
                    "the execution's history is full, and it ends without being asked"
                )
                if waits:
                    self.now += asked.arguments
                    asked = run.send({})
                    continue
                self.reached.append(asked.state)
                count = counts[asked.state] = counts.get(asked.state, 0) + 1
                try:
                    if error := refused(asked, count):
                        raise TaskError(error, "Rate exceeded")
                    answer = self.cloud.call(asked)
                    if error := lost(asked, count):
                        raise TaskError(error, "no answer")
                except TaskError as problem:
                    asked = run.throw(problem)
                else:
                    asked = run.send(answer)
        except StopIteration as end:
            ended: Ended = end.value
            return ended


def throttling(asked: Asked) -> str:
    return integrations.error(asked.resource, integrations.service(asked.resource).throttling)


def silence(asked: Asked) -> str:
    return f"{integrations.service(asked.resource).prefix}.{integrations.LOST}"


WAYS = {
    "a retraining": {},
    "of the schedule": {"slot": "2026-11-24T12:00:00Z"},
    "an artifact": {"artifact": "s3://m/x"},
}


@pytest.mark.parametrize("way", WAYS)
def test_throttled_once_at_every_task_it_is_promoted_all_the_same(way: str) -> None:
    day = Day()
    ended = day.run(WAYS[way], refused=lambda asked, count: throttling(asked) if count == 1 else "")
    assert (ended.failed, ended.output["outcome"]) == (False, "Promoted"), ended
    assert all(day.reached.count(state) >= 2 for state in day.reached)


@pytest.mark.parametrize("way", WAYS)
def test_where_every_first_answer_is_lost_it_is_promoted_all_the_same(way: str) -> None:
    """A request was granted and its answer lost: jobs, model and component are there already when they are asked for again."""
    day = Day()
    ended = day.run(WAYS[way], lost=lambda asked, count: silence(asked) if count == 1 else "")
    assert (ended.failed, ended.output["outcome"]) == (False, "Promoted"), ended
    assert {"ReadModel", "ReadComponent"} <= set(day.reached)
    assert len(day.cloud.packages) == (way != "an artifact")
    assert day.cloud.models.holder() is None


def test_a_registry_that_refuses_does_not_throw_away_what_was_judged() -> None:
    day = Day()
    error = "SageMaker.SageMakerException"
    ended = day.run({}, refused=lambda asked, _count: error if asked.state == "Package" else "")
    assert ended.output["outcome"] == "Promoted", ended
    assert ended.output["reason"] == f"judged (not in the registry: {error})"
    assert day.cloud.packages == {}


@pytest.mark.parametrize("kind", ["hosted", "components"])
def test_what_another_left_under_the_name_is_not_taken_for_ones_own(kind: str) -> None:
    day = Day()
    getattr(day.cloud, kind)["protloc-one"] = day.now - 3600
    ended = day.run({"version": "one", "artifact": "s3://m/x"})
    assert ended.failed and "already existing" in ended.output["Cause"], ended
    assert day.cloud.models.alias().version == ""
    assert (
        not day.cloud.components and not day.cloud.hosted
    )  # so that the next attempt finds nothing in its way


def test_two_that_began_in_the_same_millisecond_share_no_job() -> None:
    first, second = Day(), Day()
    second.cloud = first.cloud
    for day in (first, second):
        assert not day.run({"again": True, "version": f"of-{id(day)}"}).failed
    assert len(first.cloud.jobs) == 6


def test_a_server_that_never_starts_ends_within_two_hours_and_is_caught() -> None:
    day = Day()
    day.cloud.random.choices = lambda *_: ["Creating"]  # type: ignore[method-assign]
    ended = day.run({"version": "one", "artifact": "s3://m/x"})
    assert ended.failed and "did not start within an hour" in ended.output["Cause"], ended
    assert 3600 <= day.now - START < 7200
    assert day.events < EVENTS / 2
    assert not day.cloud.components and day.cloud.models.holder() is None


@pytest.mark.parametrize(
    ("state", "kind"), [("Snapshot", "snapshot"), ("Train", "train"), ("Evaluate", "evaluate")]
)
def test_a_job_that_never_ends_is_given_up_before_the_execution_is(state: str, kind: str) -> None:
    day = Day()
    day.cloud.random.choices = lambda *_: ["InProgress"]  # type: ignore[method-assign]
    ended = day.run(
        {}, lost=lambda asked, count: silence(asked) if asked.state == state and count == 1 else ""
    )
    assert ended.failed and f"-{kind} does not end" in ended.output["Cause"], ended
    limit = day.machine.states[state]["TimeoutSeconds"]
    assert limit * 0.9 < day.now - START < limit * 1.1
    assert day.events < EVENTS / 2


def test_all_limits_together_are_less_than_an_executions_and_that_less_than_the_locks() -> None:
    """Only then can each be caught; an execution's own time-out cannot."""
    machine = real_machine(float)
    tasks = [state for state in machine.states.values() if state["Type"] == "Task"]
    longest = 0.0
    for state in tasks:
        once = state["Resource"].endswith(".sync")  # a job that failed or took too long is not run again
        attempts = 1 if once else 1 + max(each.get("MaxAttempts", 3) for each in state["Retry"])
        longest += attempts * state.get("TimeoutSeconds", 60) + max(map(pauses, state["Retry"]))
    hosting = 2 * 3600  # test_a_server_that_never_starts_ends_within_two_hours_and_is_caught
    assert longest + hosting < machine.definition["TimeoutSeconds"] < LOCK_SECONDS
    for name in ("Lock", "LockSlot"):
        end = machine.states[name]["Arguments"]["ExpressionAttributeValues"][":end"]["N"]
        assert f"+ {LOCK_SECONDS})" in end


def pauses(retrier: dict[str, Any]) -> float:
    """The seconds between all attempts."""
    interval, rate = retrier.get("IntervalSeconds", 1), retrier.get("BackoffRate", 2.0)
    return float(sum(interval * rate**n for n in range(retrier.get("MaxAttempts", 3))))


@pytest.mark.parametrize("name", ["Plan", "Judge", "Smoke"])
def test_a_function_may_take_all_its_time(name: str) -> None:
    limit = SOURCE["Resources"][f"{name}Function"]["Properties"]["Timeout"]
    assert limit < real_machine(float).states[name]["TimeoutSeconds"]
