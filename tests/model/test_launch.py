"""The SageMaker SDK sends the very request that `--dry-run` prints, and follows the job's log to its model."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import botocore.client
import pytest

from model import launch, source
from model.job import LAUNCHERS

ROLE = "arn:aws:iam::123456789012:role/model"
OWN = ["--name", "job-1", "--role", ROLE, "--bucket", "bucket", "--region", "us-east-1"]
LABELLED = ">P1 Nucleus-S\nMKV\n>P2 Cytoplasm-U\nMAV\n"
SMDDP = ["--launcher", "smddp", "--training", "s3://bucket/data/", "--hyperparameter", "epochs=3"]
SPOT = ["--launcher", "torchrun", "--spot", "--instances", "2", "--training", "s3://bucket/data/"]
SPOT += [
    "--validation",
    "s3://bucket/list/",
    "--hyperparameter",
    "frozen_layers=15",
    "--hyperparameter",
    "head=linear",
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The calls that reach AWS, in their order; a job ends well at the second look."""
    made: list[tuple[str, dict[str, Any]]] = []
    looks: list[str] = []

    def answer(self: Any, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        made.append((operation, fields))
        if operation == "CreateTrainingJob":
            return {"TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/job-1"}
        if operation == "DescribeTrainingJob":
            looks.append(operation)
            return described("InProgress" if len(looks) < 2 else "Completed")
        if operation == "DescribeLogStreams":
            return {"logStreams": [{"logStreamName": f"job-1/algo-{n}-1"} for n in (1, 2)]}
        if operation == "GetLogEvents":
            events = [] if "nextToken" in fields else [{"message": "Epoch 1 [of 2]"}]
            return {"events": events, "nextForwardToken": "f/1"}
        return {}

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", answer)
    monkeypatch.setattr(launch, "POLL_SECONDS", 0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(
        socket, "create_connection", lambda *_, **__: pytest.fail("a connection, as of telemetry")
    )
    return made


def described(status: str) -> dict[str, Any]:
    """A training job as the API describes it."""
    return {
        "TrainingJobName": "job-1",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/job-1",
        "TrainingJobStatus": status,
        "FailureReason": "expected a finite loss",
        "ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.g5.12xlarge", "VolumeSizeInGB": 100},
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/training/job-1/output/model.tar.gz"},
    }


@pytest.mark.parametrize("words", [SMDDP, SPOT])
def test_the_sdk_sends_the_request_that_a_dry_run_prints(
    words: list[str], calls: list[tuple[str, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    launch.main([*OWN, *words, "--dry-run"])
    printed = json.loads(capsys.readouterr().out)
    assert not calls, "a dry run calls nobody"
    launch.main([*OWN, *words])
    made = dict(calls)
    assert made["CreateTrainingJob"] == printed
    assert all(isinstance(value, str) for value in printed["HyperParameters"].values())
    assert made["PutObject"]["Key"] == source.key_of(source.archive())


def test_the_log_is_followed_to_the_model_and_the_command_that_serves_it(
    calls: list[tuple[str, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    launch.main([*OWN, *SMDDP])
    output, errors = capsys.readouterr()
    assert errors.splitlines().count("Epoch 1 [of 2]") == 2, "a line of each of two streams"
    assert "protloc models add s3://bucket/training/job-1/output/model.tar.gz" in errors
    assert output == "s3://bucket/training/job-1/output/model.tar.gz\n", "for a shell's variable"


def test_a_job_that_fails_ends_the_command_with_its_reason(
    calls: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "described", lambda _, of=described: of("Failed"))
    with pytest.raises(SystemExit, match="job-1 failed: expected a finite loss"):
        launch.main([*OWN, *SMDDP])


def test_a_file_of_this_machine_becomes_a_channel_under_its_contents_name(
    calls: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    labelled = tmp_path / "mine.fasta"
    labelled.write_text(LABELLED)
    launch.main([*OWN, "--training", str(labelled), "--no-wait"])
    puts = [fields for name, fields in calls if name == "PutObject"]
    sent = {fields["Key"]: fields["Bucket"] for fields in puts}
    [channel] = dict(calls)["CreateTrainingJob"]["InputDataConfig"]
    prefix = channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://bucket/")
    assert f"{prefix}mine.fasta" in sent and len(prefix.split("/")[-2]) == 32
    assert not [name for name, _ in calls if name == "GetLogEvents"], "--no-wait leaves the job"


def test_labels_that_cannot_be_learned_from_are_not_sent(
    calls: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    labelled = tmp_path / "mine.fasta"
    labelled.write_text(">P1 Somewhere-S\nMKV\n")
    with pytest.raises(SystemExit, match=r"mine\.fasta line 1: unknown location 'Somewhere'"):
        launch.main([*OWN, "--training", str(labelled)])
    assert not calls


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_sdk_knows_the_image_of_every_launcher(launcher: str) -> None:
    assert launch.registry(launcher, "eu-south-1") == "692866216735.dkr.ecr.eu-south-1.amazonaws.com"
    assert launch.registry(launcher, "cn-north-1") == "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn"
    with pytest.raises(
        launch.LaunchError, match=r"expected a region with pytorch-training:.* found nowhere-1"
    ):
        launch.registry(launcher, "nowhere-1")


def test_without_the_sdk_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sagemaker.core", None)
    monkeypatch.delitem(sys.modules, "sagemaker.core.image_uris", raising=False)
    with pytest.raises(launch.LaunchError, match=r"pip install 'protloc\[sagemaker\]'"):
        launch.registry("cpu", "us-east-1")


def test_a_job_needs_a_role_and_a_bucket_or_a_stack_that_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        launch.parse(["--name", "job-1", "--role", ROLE])
    assert "expected --stack, or --role and --bucket" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        launch.parse([*OWN, "--training", "nowhere.fasta"])
    assert "expected --training as a file or an s3:// prefix" in capsys.readouterr().err
