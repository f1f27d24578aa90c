"""Executions of the state machine: each puts a model version into service, or retrains one before that."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from protloc.safe import safe
from protloc.stack.client import Client

FIRST_POLL_SECONDS, LAST_POLL_SECONDS = 0.5, 5.0
RUNNING, SUCCEEDED = "RUNNING", "SUCCEEDED"
STEPS = {  # the states a person would want to hear of
    "Snapshot": "reading the labelled proteins, and choosing which are learned from and which are held out",
    "Train": "training",
    "Evaluate": "asking it and the active version about the proteins that were held out",
    "Judge": "judging whether it is better",
    "Package": "registering it",
    "Host": "creating the model",
    "AddComponent": "starting its server",
    "Smoke": "trying it on known proteins",
    "Promote": "making it the active version",
    "Remove": "it failed; taking it away again",
}
ENDS = {  # descriptions of ends that the state machine could not describe
    "TIMED_OUT": "it took longer than the state machine allows",
    "ABORTED": "it was stopped",
}

Tell = Callable[[str], None]


def start(client: Client, version: str, request: Mapping[str, Any]) -> str:
    """Start the state machine for a version; its name begins with the version's."""
    execution: str = client.client("stepfunctions").start_execution(
        stateMachineArn=client.outputs["RetrainStateMachine"],
        name=f"{version}-{secrets.token_hex(4)}",
        input=json.dumps({"version": version, **request}),
    )["executionArn"]
    return execution


def settle(client: Client) -> None:
    """End the version of an execution that is over without having said so, and free the lock it held."""
    client.client("lambda").invoke(
        FunctionName=client.outputs["RetireFunction"], Payload=json.dumps({"settle_seconds": 0})
    )


def running(client: Client, version: str) -> str | None:
    """The execution that works on a version just now."""
    executions = client.client("stepfunctions").list_executions(
        stateMachineArn=client.outputs["RetrainStateMachine"], statusFilter=RUNNING
    )["executions"]
    return next((e["executionArn"] for e in executions if e["name"].rpartition("-")[0] == version), None)


def follow(
    client: Client,
    execution: str,
    tell: Tell,
    seconds: float = float("inf"),
    news: Callable[[], Iterable[str]] = tuple,
) -> dict[str, Any]:
    """Wait for an execution, reporting its steps and each time the lines of `news`; returns its description.

    Raises TimeoutError.
    """
    states = client.client("stepfunctions")
    end = time.monotonic() + seconds
    pause, steps_told = FIRST_POLL_SECONDS, 0
    while time.monotonic() < end:
        description: dict[str, Any] = states.describe_execution(executionArn=execution)
        steps = _steps(states, execution)
        for step in steps[steps_told:]:
            tell(STEPS[step])
        steps_told = len(steps)
        for line in news():
            tell(line)
        if description["status"] != RUNNING:
            return description
        _pause(pause)
        pause = min(pause * 1.1, LAST_POLL_SECONDS)
    raise TimeoutError(execution)


def _pause(seconds: float) -> None:
    time.sleep(seconds)


def reason(description: Mapping[str, Any]) -> str:
    """Return why an execution did not succeed, on one line."""
    cause = (
        description.get("cause")
        or ENDS.get(description["status"])
        or description.get("error")
        or description["status"]
    )
    return safe(" ".join(str(cause).split()))


def _steps(states: Any, execution: str) -> list[str]:
    """The steps worth telling that an execution has entered, in order, each once."""
    pages = states.get_paginator("get_execution_history").paginate(
        executionArn=execution, includeExecutionData=False, PaginationConfig={"PageSize": 1000}
    )
    entered = (
        event.get("stateEnteredEventDetails", {}).get("name") for page in pages for event in page["events"]
    )
    return list(dict.fromkeys(name for name in entered if name in STEPS))
