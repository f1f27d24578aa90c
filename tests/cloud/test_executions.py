"""A state machine's execution, and the training job it waits for, go on after the cloud was stopped or killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protloc.cloud import lifecycle
from tests.cloud.conftest import Stack
from tests.cloud.sagemaker.models import source
from tests.cloud.sagemaker.test_checkpoints import statuses, weights
from tests.cloud.sagemaker.test_sagemaker import put
from tests.cloud.test_lifecycle import killed, saved
from tests.waiting import Gate, until


def stopped_and_started(stack: Stack) -> Stack:
    lifecycle.down(stack.cloud.home)
    return Stack(lifecycle.up(stack.cloud.home), stack.outputs)


ENDS = {"killed": killed, "stopped": stopped_and_started}


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


def started_execution(stack: Stack, gate: Gate) -> str:
    """An execution whose training job has come to the gate."""
    hyperparameters = {
        "gate": str(gate.path),
        "sagemaker_submit_directory": put(stack, "models/code/sourcedir.tar.gz", source()),
        "sagemaker_program": "model/asked.py",
    }
    parameters = {"do": "train", "role": stack.outputs["HostRole"], "hyperparameters": hyperparameters}
    execution: str = stack.client("stepfunctions").start_execution(
        stateMachineArn=stack.outputs["Machine"], input=json.dumps(parameters)
    )["executionArn"]
    until(lambda: gate.reached, lambda: described(stack, execution))
    saved(stack)
    return execution


def described(stack: Stack, execution: str) -> dict[str, Any]:
    description: dict[str, Any] = stack.client("stepfunctions").describe_execution(executionArn=execution)
    return description


def over(stack: Stack, execution: str) -> dict[str, Any]:
    def end() -> dict[str, Any] | None:
        description = described(stack, execution)
        return description if description["status"] != "RUNNING" else None

    description = until(end, lambda: described(stack, execution))
    assert description is not None
    return description


def entered(stack: Stack, execution: str) -> list[str]:
    events = stack.client("stepfunctions").get_execution_history(executionArn=execution)["events"]
    return [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]


@pytest.mark.parametrize("way", ["killed", pytest.param("stopped", marks=pytest.mark.slow)])
def test_an_execution_goes_on_in_the_state_in_which_its_cloud_ended(
    own_stack: Stack, gate: Gate, way: str
) -> None:
    execution = started_execution(own_stack, gate)
    again = ENDS[way](own_stack)
    gate.open()
    done = over(again, execution)
    assert done["status"] == "SUCCEEDED", done
    assert json.loads(done["output"])["status"] == 200  # a variable of a state before
    assert entered(again, execution) == ["Ask", "Which", "Train", "Trained"]
    (job,) = again.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    description = again.client("sagemaker").describe_training_job(TrainingJobName=job["TrainingJobName"])
    assert statuses(description).count("Training") == 2 and "Interrupted" in statuses(description)
    # Asked to end, the program had written a checkpoint; killed, it could not.
    assert weights(again, description) == {"found": ["asked.step"] if way == "stopped" else []}


def test_an_execution_that_was_cancelled_stays_so_and_its_job_is_stopped(
    own_stack: Stack, gate: Gate
) -> None:
    execution = started_execution(own_stack, gate)
    again = stopped_and_started(own_stack)
    again.client("stepfunctions").stop_execution(executionArn=execution, error="Cancelled", cause="enough")
    sagemaker = again.client("sagemaker")
    until(lambda: sagemaker.list_training_jobs(StatusEquals="Stopped")["TrainingJobSummaries"])
    once_more = stopped_and_started(again)
    assert described(once_more, execution)["status"] == "ABORTED"


def test_the_time_that_an_execution_has_counts_from_its_start(own_stack: Stack, gate: Gate) -> None:
    machine = own_stack.client("stepfunctions").describe_state_machine(
        stateMachineArn=own_stack.outputs["Machine"]
    )
    execution = started_execution(own_stack, gate)
    shorter = json.loads(machine["definition"]) | {"TimeoutSeconds": 1}
    own_stack.client("stepfunctions").update_state_machine(
        stateMachineArn=own_stack.outputs["Machine"], definition=json.dumps(shorter)
    )
    again = stopped_and_started(own_stack)
    assert over(again, execution)["status"] == "TIMED_OUT"
