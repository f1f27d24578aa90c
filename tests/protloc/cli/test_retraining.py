"""Labels go in, a retraining is followed to its end, and every outcome is told and has its exit code."""

import contextlib
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from protloc.cloud import connection
from protloc.stack import executions
from protloc.stack.client import Client
from protloc.stack.retraining import JOB_LOGS, Epochs
from tests.conftest import Embedded
from tests.model.tiny import write_labelled

GOOD = ">P1 Nucleus-S\nMKVA\n>P2 Cytoplasm-U\nMAAA\n>P3 Nucleus-M test\nMKKK\n"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / f"mine-{uuid.uuid4().hex[:6]}.fasta"
    path.write_text(GOOD)
    return path


def test_labels_are_checked_added_and_listed(embedded: Embedded, labelled: Path) -> None:
    bucket = embedded.client.outputs["UploadsBucket"]
    added = embedded.answer("labels", "add", labelled)
    assert added == {
        "uri": f"s3://{bucket}/labels/{labelled.name}",
        "proteins": 3,
        "locations": {"Cytoplasm": 1, "Nucleus": 2},
        "labelled": 3,
        "held_out": 1,
        "enough": False,
    }
    body = embedded.client.client("s3").get_object(Bucket=bucket, Key=f"labels/{labelled.name}")["Body"]
    assert body.read() == labelled.read_bytes()
    files = {each["name"]: each for each in embedded.answer("labels")["labels"]}
    assert files[labelled.name]["kind"] == "labels" and files[labelled.name]["bytes"] == len(GOOD)
    assert labelled.name in embedded.protloc("labels").stdout
    removed = embedded.answer("labels", "remove", labelled.name)
    assert removed == {"removed": f"s3://{bucket}/labels/{labelled.name}"}
    assert embedded.answer("labels")["labels"] == []
    result = embedded.protloc("labels", "remove", labelled.name)
    assert result.exit_code == 2 and f"no labelled file {labelled.name}" in result.stderr


def test_too_few_labels_to_judge_by_are_reported_at_once_and_all_files_count(
    embedded: Embedded, tmp_path: Path
) -> None:
    first = write_labelled(tmp_path / "first.fasta", 340, test=0)
    result = embedded.protloc("labels", "add", first)
    assert result.exit_code == 0
    assert "of 340 labelled proteins about 49 would be held out, and 50 are needed" in result.stderr
    assert "protloc retrain" not in result.stdout
    second = write_labelled(tmp_path / "second.fasta", 20, test=0, seed=1)
    result = embedded.protloc("labels", "add", second)
    assert "protloc retrain" in result.stdout and not result.stderr
    for path in (first, second):
        assert embedded.protloc("labels", "remove", path.name).exit_code == 0


def test_base_data_goes_to_the_operators_place(embedded: Embedded, labelled: Path) -> None:
    result = embedded.protloc("labels", "add", labelled, "--base")
    assert result.exit_code == 0, result.stderr
    bucket = embedded.client.outputs["ModelsBucket"]
    assert f"3 proteins of 2 locations are in s3://{bucket}/data/base/{labelled.name}." in result.stdout
    embedded.client.client("s3").delete_object(Bucket=bucket, Key=f"data/base/{labelled.name}")


def test_a_file_with_wrong_records_is_refused_with_every_one_of_them(
    embedded: Embedded, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.fasta"
    path.write_text(">P1 Nucleus-S\nMK\n>P2 Nowhere\x1b[2J-S\nMK\n>P3 Nucleus\nMK\n>P4 Nucleus-S\nM1\n")
    result = embedded.protloc("labels", "add", path)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == [*(f"{path}:{line}" for line in (3, 5, 7)), "protloc"]
    assert "3 records of wrong.fasta cannot be used, so nothing was added" in lines[-1]
    assert "\x1b" not in result.stderr
    assert "wrong.fasta" not in {each["name"] for each in embedded.answer("labels")["labels"]}


@pytest.mark.parametrize(("name", "text"), [("empty.fasta", ""), ("labels.txt", GOOD)])
def test_a_file_that_holds_no_labels_is_refused(
    embedded: Embedded, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    result = embedded.protloc("labels", "add", tmp_path / name)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1


def test_without_labels_there_is_nothing_to_do(embedded: Embedded) -> None:
    answer = embedded.answer("retrain")
    assert (answer["outcome"], answer["report"]) == ("NothingNew", None)
    assert "protloc labels add" in answer["reason"]


Machine = Callable[..., None]


@pytest.fixture
def machine(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """In the place of the stack's, a state machine that goes through some states and ends as it is told."""

    def replace(*states: dict[str, Any], **more: Any) -> None:
        named = {f"{state.pop('Name')}": state for state in states}
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(named)), "States": named, **more}
        states_client, outputs = embedded.client.client("stepfunctions"), embedded.client.outputs
        real = states_client.describe_state_machine(stateMachineArn=outputs["RetrainStateMachine"])
        arn = states_client.create_state_machine(
            name=f"fake-{uuid.uuid4().hex[:8]}",
            definition=json.dumps(definition),
            roleArn=real["roleArn"],
        )["stateMachineArn"]
        client = Client(
            {**outputs, "RetrainStateMachine": arn},
            embedded.client.api_url,
            embedded.client.api._session,
            embedded.client._make_client,
        )
        monkeypatch.setattr("protloc.cli.retraining.client_of", lambda *_, **__: client)

    return replace


def ended(outcome: str, reason: str = "Q10 70 % → 71 %", report: str = "") -> dict[str, Any]:
    output = {
        "outcome": outcome,
        "version": "{% $states.context.Execution.Input.version %}",
        "reason": reason,
        "report": report,
    }
    return {"Name": "End", "Type": "Succeed", "Output": output}


@pytest.mark.parametrize("outcome", ["Promoted", "KeptChampion", "NothingNew", "Skipped"])
def test_every_good_end_is_reported_in_words_and_exits_0(
    embedded: Embedded, machine: Machine, outcome: str
) -> None:
    machine(
        {"Name": "Train", "Type": "Pass", "Next": "Judge"},
        {"Name": "Judge", "Type": "Pass", "Next": "End"},
        ended(outcome, report="s3://bucket/report.html" if outcome != "Skipped" else ""),
    )
    result = embedded.protloc("retrain", "--version", "v-1")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines() == ["v-1: training", "v-1: judging whether it is better"]
    assert "Q10 70 % → 71 %" in result.stdout
    assert ("models report v-1" in result.stdout) == (outcome != "Skipped")
    answer = embedded.answer("retrain")
    assert set(answer) == {"outcome", "version", "reason", "report"}
    assert answer["outcome"] == outcome
    assert answer["version"].startswith("model-20")


def test_a_failed_retraining_exits_1_with_its_reason(embedded: Embedded, machine: Machine) -> None:
    machine({"Name": "Failed", "Type": "Fail", "Error": "Failed", "Cause": "no\nproteins\x1b[2J"})
    result = embedded.protloc("retrain", "--version", "v-2", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer == {"outcome": "Failed", "version": "v-2", "reason": "no proteins\\x1b[2J", "report": None}
    assert result.stderr.splitlines()[-1] == "protloc: the retraining failed: no proteins\\x1b[2J"


def test_one_that_took_too_long_has_failed(embedded: Embedded, machine: Machine) -> None:
    machine({"Name": "Wait", "Type": "Wait", "Seconds": 30, "End": True}, TimeoutSeconds=1)
    result = embedded.protloc("retrain")
    assert result.exit_code == 1 and "took longer than the state machine allows" in result.stderr


def test_requested_settings_reach_the_state_machine(embedded: Embedded, machine: Machine) -> None:
    expression = "{% $string($states.context.Execution.Input) %}"
    machine(ended("Promoted", reason=expression))
    words = ["--set", "epochs=3", "--set", "frozen_layers=all", "--again", "--version", "v-3"]
    request = json.loads(embedded.answer("retrain", *words)["reason"])
    hyperparameters = {"epochs": "3", "frozen-layers": "all"}
    assert request == {"version": "v-3", "hyperparameters": hyperparameters, "again": True}


def test_an_interruption_leaves_it_running_and_says_how_to_look(
    embedded: Embedded, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine({"Name": "Train", "Type": "Wait", "Seconds": 2, "Next": "End"}, ended("Promoted"))

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executions, "_pause", interrupted)
    result = embedded.protloc("retrain", "--version", "v-4")
    assert result.exit_code == 130
    assert "The retraining goes on. Come back with: protloc retrain --follow" in result.stderr
    monkeypatch.undo()
    machine_of = embedded.protloc("retrain", "--follow", "--version", "none-such")
    assert machine_of.exit_code == 2 and "no retraining of none-such is at work" in machine_of.stderr


def test_without_waiting_it_says_what_is_on_its_way(embedded: Embedded, machine: Machine) -> None:
    machine({"Name": "Train", "Type": "Wait", "Seconds": 1, "Next": "End"}, ended("Promoted"))
    result = embedded.protloc("retrain", "--no-wait", "--version", "v-5")
    assert result.exit_code == 0
    assert result.stdout == "v-5 is being trained; look with `protloc models`.\n"
    answer = embedded.answer("retrain", "--no-wait", "--version", "v-6")
    assert answer == {"outcome": None, "version": "v-6", "reason": None, "report": None}


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "epochs"],
        ["--set", "=3"],
        ["--set", "sagemaker_program=x"],
        ["--set", "model-version=x"],
        ["--version", "a_b"],
        ["--version", "x" * 41],
        ["--version", "tiny-1"],
    ],
)
def test_impossible_settings_are_refused(embedded: Embedded, machine: Machine, words: list[str]) -> None:
    machine(ended("Promoted"))
    result = embedded.protloc("retrain", *words)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1


def test_one_at_work_is_followed_again(embedded: Embedded, machine: Machine) -> None:
    machine({"Name": "Train", "Type": "Wait", "Seconds": 2, "Next": "End"}, ended("Promoted"))
    assert embedded.protloc("retrain", "--no-wait", "--version", "v-7").exit_code == 0
    result = embedded.protloc("retrain", "--follow")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines() == ["v-7: training"]
    assert result.stdout.startswith("v-7 is the active version now.")


def test_one_at_work_is_cancelled(embedded: Embedded, machine: Machine) -> None:
    machine({"Name": "Train", "Type": "Wait", "Seconds": 600, "Next": "End"}, ended("Promoted"))
    assert embedded.protloc("retrain", "--no-wait", "--version", "v-8").exit_code == 0
    result = embedded.protloc("retrain", "--cancel")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "v-8 is cancelled; the active version stays as it is.\n"
    result = embedded.protloc("retrain", "--cancel")
    assert result.exit_code == 2 and "no retraining is at work" in result.stderr


@pytest.mark.parametrize(
    "words", [["--follow", "--cancel"], ["--follow", "--again"], ["--cancel", "--set", "a=1"]]
)
def test_what_starts_one_does_not_go_with_what_is_of_one_at_work(
    embedded: Embedded, words: list[str]
) -> None:
    result = embedded.protloc("retrain", *words)
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1


def test_the_epochs_of_a_training_are_shown_with_the_time_that_is_left(embedded: Embedded) -> None:
    logs = embedded.client.client("logs")
    job = f"protloc-{uuid.uuid4().hex[:8]}-1-train"
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=JOB_LOGS)
    where = {"logGroupName": JOB_LOGS, "logStreamName": f"{job}/algo-1-1"}
    logs.create_log_stream(**where)
    epochs = Epochs(embedded.client, "")
    epochs._job = job

    def log(*lines: str) -> None:
        events = [{"timestamp": round(1000 * time.time()), "message": line} for line in lines]
        logs.put_log_events(**where, logEvents=events)

    assert list(epochs.news()) == []
    log("Step 1/9 Training Loss: 2.1", "Epoch 1/20 Training Loss: 1.9", "Validation Accuracy: 0.5123")
    assert list(epochs.news()) == []
    log("Seconds: 31", "Epoch 20/20 Training Loss: 1.1", "Validation Accuracy: 0.7", "Seconds: 30")
    assert list(epochs.news()) == [
        "epoch 1 of 20, 51.2 % of the validation proteins right, at most 10 min left",
        "epoch 20 of 20, 70.0 % of the validation proteins right",
    ]
    assert list(epochs.news()) == []


def test_stopping_the_cloud_asks_before_it_stops_a_training(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = connection.find(embedded.home)
    assert cloud is not None
    real = cloud.client("sagemaker")
    jobs = {"TrainingJobSummaries": [{"TrainingJobName": "protloc-1-1-train"}]}

    class Busy(connection.Cloud):
        def client(self, service: str) -> Any:
            stub = Mock(wraps=real)
            stub.list_training_jobs = Mock(return_value=jobs)
            return stub

    monkeypatch.setattr(connection, "find", lambda home: Busy(cloud.pid, cloud.port, home))
    result = embedded.protloc("down")
    assert result.exit_code == 2
    assert "a training is at work, protloc-1-1-train; it goes on with the next `protloc up`" in result.stderr
    result = embedded.protloc("down", "--erase")
    assert "a training is at work, protloc-1-1-train; it is deleted as well" in result.stderr
    monkeypatch.undo()
    assert connection.find(embedded.home) is not None
