"""A cloud that answers Throttling once to every task of every execution."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Embedded
from tests.end_to_end.retraining import QUICK, ending, lock, put_labels


@pytest.mark.slow
def test_a_retraining_whose_every_call_is_throttled_once_is_promoted(
    start_embedded: Callable[..., Embedded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROTLOC_THROTTLE", "1")
    cloud = start_embedded()
    put_labels(cloud, tmp_path)
    machines = cloud.client.client("stepfunctions")
    execution = machines.start_execution(
        stateMachineArn=cloud.client.outputs["RetrainStateMachine"],
        input=json.dumps({"version": "new-1", "hyperparameters": QUICK}),
    )["executionArn"]
    done = ending(cloud, execution)
    assert done["outcome"] == "Promoted", done
    assert lock(cloud) is None
    pages = machines.get_paginator("get_execution_history").paginate(executionArn=execution)
    events = [each for page in pages for each in page["events"]]
    tasks = [each for each in events if each["type"] == "TaskStateEntered"]
    refused = [each["taskFailedEventDetails"] for each in events if each["type"] == "TaskFailed"]
    names = {each["stateEnteredEventDetails"]["name"] for each in tasks}
    assert len(refused) == len(names) and {"Train", "Package", "Host", "Promote", "Notify"} <= names
    assert all("Rate exceeded" in each["cause"] for each in refused)
