"""The request is SageMaker's own, for each way of starting processes."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import validate_parameters
from packaging.requirements import Requirement

from model import job as jobs
from model import source
from model.job import Job, request

ROOT = Path(source.__file__).parents[1]
JOB = Job(
    name="job-1",
    launcher="smddp",
    role="arn:aws:iam::123456789012:role/model",
    region="us-east-1",
    registry="763104351884.dkr.ecr.us-east-1.amazonaws.com",
    source="s3://bucket/code/sourcedir.tar.gz",
    output="s3://bucket/training",
    training="s3://bucket/data/training",
    hyperparameters={"epochs": 3, "batch-size": 4},
)


def valid(body: dict[str, Any]) -> bool:
    service = botocore.session.get_session().get_service_model("sagemaker")
    validate_parameters(body, service.operation_model("CreateTrainingJob").input_shape)
    return True


def test_smddp_gets_the_hyperparameters_that_sagemakers_sdk_sent() -> None:
    # Captured from SDK 2.257.7, PyTorch(distribution={"smdistributed": {"dataparallel": {"enabled": True}}}).
    assert request(JOB)["HyperParameters"] == {
        "epochs": "3",
        "batch-size": "4",
        "sagemaker_submit_directory": '"s3://bucket/code/sourcedir.tar.gz"',
        "sagemaker_program": '"model/train.py"',
        "sagemaker_container_log_level": "20",
        "sagemaker_job_name": '"job-1"',
        "sagemaker_region": '"us-east-1"',
        "sagemaker_distributed_dataparallel_enabled": "true",
        "sagemaker_instance_type": '"ml.p4d.24xlarge"',
        "sagemaker_distributed_dataparallel_custom_mpi_options": '""',
    }


def test_torchrun_and_cpu_leave_smddps_keys_out() -> None:
    settings = {
        name: value
        for name, value in request(JOB)["HyperParameters"].items()
        if "dataparallel" not in name and name != "sagemaker_instance_type"
    }
    cpu, torchrun = (request(replace(JOB, launcher=name)) for name in ("cpu", "torchrun"))
    assert cpu["HyperParameters"] == settings
    assert torchrun["HyperParameters"] == settings | {"sagemaker_torch_distributed_enabled": "true"}


@pytest.mark.parametrize("launcher", jobs.LAUNCHERS)
@pytest.mark.parametrize("spot", [False, True])
def test_a_request_is_valid_by_the_apis_own_model(launcher: str, spot: bool) -> None:
    body = request(replace(JOB, launcher=launcher, spot=spot, validation="s3://bucket/data/validation"))
    assert valid(body)
    assert body["EnableManagedSpotTraining"] is spot
    assert ("MaxWaitTimeInSeconds" in body["StoppingCondition"]) is spot
    assert body["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert [channel["ChannelName"] for channel in body["InputDataConfig"]] == ["training", "validation"]


def test_the_champion_is_a_channel_of_its_own() -> None:
    body = request(replace(JOB, champion="s3://bucket/training/protloc-a/output/model.tar.gz"))
    assert valid(body)
    assert [channel["ChannelName"] for channel in body["InputDataConfig"]] == ["training", "champion"]
    place = body["InputDataConfig"][1]["DataSource"]["S3DataSource"]
    assert place["S3Uri"].endswith("/output/model.tar.gz") and place["S3DataType"] == "S3Prefix"


@pytest.mark.parametrize("launcher", jobs.LAUNCHERS)
@pytest.mark.parametrize("program", jobs.PROGRAMS[1:])
def test_other_programs_are_jobs_of_one_process_without_channels(launcher: str, program: str) -> None:
    settings = {"output": "s3://bucket/snapshots/0123456789abcdef"}
    job = replace(JOB, launcher=launcher, program=program, training=None, hyperparameters=settings)
    body = request(job)
    assert valid(body)
    assert not {"InputDataConfig", "CheckpointConfig"} & body.keys()
    assert "MetricDefinitions" not in body["AlgorithmSpecification"]
    assert body["HyperParameters"] == {
        "output": '"s3://bucket/snapshots/0123456789abcdef"',
        "sagemaker_submit_directory": '"s3://bucket/code/sourcedir.tar.gz"',
        "sagemaker_program": f'"{program}"',
        "sagemaker_container_log_level": "20",
        "sagemaker_job_name": '"job-1"',
        "sagemaker_region": '"us-east-1"',
    }
    with pytest.raises(ValueError, match=f"expected one instance for {program}, found 2"):
        request(replace(job, launcher="torchrun", instances=2))


def test_a_job_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected training data for model/train\.py, found none"):
        request(replace(JOB, training=None))
    with pytest.raises(ValueError, match=r"expected one of model/train\.py, .* found model/other\.py"):
        request(replace(JOB, program="model/other.py"))


def test_image_launcher_and_instance_are_one_setting() -> None:
    smddp = request(JOB)
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.5.1-gpu-py311-cu124-ubuntu22.04-sagemaker"
    assert smddp["AlgorithmSpecification"]["TrainingImage"] == image
    with pytest.raises(ValueError, match=r"expected ml\.p4d\.24xlarge or .* found ml\.p5\.48xlarge"):
        request(replace(JOB, instance="ml.p5.48xlarge"))
    with pytest.raises(ValueError, match="expected one instance for cpu, found 2"):
        request(replace(JOB, launcher="cpu", instances=2))
    assert request(replace(JOB, instances=2))["ResourceConfig"]["InstanceCount"] == 2


def test_the_source_archive_holds_the_program_and_its_requirements() -> None:
    content = source.archive()
    assert content == source.archive()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = set(archive.getnames())
        packed = archive.extractfile("requirements.txt")
        assert packed is not None
        text = packed.read().decode()
    assert {
        "requirements.txt",
        "model/__init__.py",
        jobs.PROGRAM,
        "model/serving/requirements.txt",
    } <= names
    assert not any("default" in name or name.endswith(".safetensors") for name in names)
    pinned = {each.name: each.specifier for each in requirements(text)}
    for each in requirements((ROOT / "model" / "serving" / "requirements.txt").read_text()):
        version = next(iter(pinned[each.name])).version
        assert version in each.specifier, "what is trained with one version is served with the same"


def requirements(text: str) -> list[Requirement]:
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
