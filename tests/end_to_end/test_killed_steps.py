"""The machine dies in each step of a retraining and of a promotion, which goes on there with the next start."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from protloc.embedded import running
from tests.conftest import Embedded
from tests.end_to_end.retraining import QUICK, ending, entered, lock, model, put_labels, remains
from tests.end_to_end.test_failures import Case, start
from tests.waiting import until

pytestmark = pytest.mark.failures

MACHINE = Path(__file__).parents[2] / "model" / "retrain.asl.yaml"
TRAINED: dict[str, Any] = {"hyperparameters": QUICK | {"epochs": 1}, "again": True}
BROUGHT: dict[str, Any] = {"artifact": "a good one"}
TRAINING = dict.fromkeys(("Lock", "Plan", "Record", "Snapshot", "Train", "Evaluate", "Judge"), TRAINED)
PROMOTION = {
    **dict.fromkeys(("Host", "AddComponent", "DescribeComponent", "Smoke", "ScaleToZero"), BROUGHT),
    **dict.fromkeys(("FollowLoad", "WakeUp", "WakeUpAlarm", "Rest", "RestAlarm"), BROUGHT),
    **dict.fromkeys(("Promote", "Unlock", "Notify"), BROUGHT),
}
STEPS = TRAINING | PROMOTION
NOT_ON_THE_WAY = {
    "LockSlot",  # Lock of a schedule
    "FollowJob",  # after a job that was begun before
    "RecordVerdict",
    "Package",
    "Approve",  # of a version that was trained
    "ReadModel",  # after an answer that was lost
    "ReadComponent",
    "ReadState",
    "RecordFailure",
    "Remove",
}


def version_that_answers(cloud: Embedded) -> str:
    """The version in service, as it says itself."""
    active = cloud.client.models()["active"]
    runtime = cloud.client.client("sagemaker-runtime")

    def answered() -> str:
        try:
            answer = runtime.invoke_endpoint(
                EndpointName="protloc",
                InferenceComponentName=f"protloc-{active}",
                ContentType="application/json",
                Body=json.dumps({"sequences": ["MKV"]}),
            )
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ModelNotReadyException"
            return ""  # it is loaded again after a start
        return str(json.loads(answer["Body"].read())["model_version"])

    assert until(answered) == active
    return str(active)


def killed(cloud: Embedded) -> Embedded:
    os.kill(cloud.answer("status")["pid"], signal.SIGKILL)
    assert cloud.protloc("up").exit_code == 0
    return replace(cloud, client=running(cloud.home))


def die_in(step: str, cloud: Embedded, folder: Path) -> Embedded:
    """Kill the cloud in a step of an execution, and check that it comes to its end with the next start."""
    version, before = f"died-in-{step.lower()}", version_that_answers(cloud)
    execution = start(cloud, Case("", "", parameters=STEPS[step]), version, folder)
    until(lambda: step in entered(cloud, execution), lambda: entered(cloud, execution))
    again = killed(cloud)
    machine = again.client.client("stepfunctions")
    try:
        machine.describe_execution(executionArn=execution)
    except (
        machine.exceptions.ExecutionDoesNotExist
    ):  # killed within a second of the start: nothing of it is there
        assert version not in {view["version"] for view in again.client.models()["models"]}
        assert lock(again) is None and version_that_answers(again) == before
        print(f"{step}: never begun")
        return again
    done = ending(again, execution)
    assert done["outcome"] == "Promoted" or (done["outcome"] == "KeptChampion" and step in TRAINING), done
    assert lock(again) is None
    after = version_that_answers(again)
    state = model(again, version)["state"]
    print(f"{step}: {state}, in service {after}")
    assert (after, state) == (
        (version, "in_service") if done["outcome"] == "Promoted" else (before, "rejected")
    )
    if state == "rejected":
        assert f"protloc-{version}" not in remains(again)["components"]
    return again


@pytest.mark.parametrize("steps", [TRAINING, PROMOTION], ids=["training", "promotion"])
def test_every_step_is_done_in_the_end(
    start_embedded: Callable[..., Embedded], tmp_path: Path, steps: dict[str, Any]
) -> None:
    cloud = start_embedded()
    put_labels(cloud, tmp_path)
    for step in steps:
        cloud = die_in(step, cloud, tmp_path)
    execution = start(cloud, Case("", "", parameters=BROUGHT), "after-all", tmp_path)
    assert ending(cloud, execution)["outcome"] == "Promoted"
    assert version_that_answers(cloud) == "after-all"


def test_every_task_is_tried_or_has_its_reason() -> None:
    states = yaml.safe_load(MACHINE.read_text())["States"]
    tasks = {name for name, state in states.items() if state["Type"] == "Task"}
    assert tasks == set(STEPS) | NOT_ON_THE_WAY
