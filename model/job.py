"""A job on SageMaker: the exact CreateTrainingJob request.

Image, launcher and instance are one setting, since SMDDP is in no image from PyTorch 2.6 on and on p4d
instances only. Programs beside `train.py` (a snapshot of the labels, a judgement) are jobs of the same kind
in the same image, of one process and without channels. The request is the one that SageMaker's own SDK sent
when it still launched SMDDP (v2, captured); it is proven against the API's model and the training toolkit,
but has not run in an AWS account. `launch.py` sends it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROGRAM = "model/train.py"
PROGRAMS = (PROGRAM, "model/snapshot.py", "model/evaluate.py")
CHECKPOINTS = "/opt/ml/checkpoints"
# Patterns for the log; the first three are the article's, to the letter.
METRICS = (
    {"Name": "train:loss", "Regex": r"Training Loss: ([0-9\.]+)"},
    {"Name": "test:accuracy", "Regex": r"Validation Accuracy: ([0-9\.]+)"},
    {"Name": "test:loss", "Regex": r"Validation loss: ([0-9\.]+)"},
    {"Name": "test:macro-f1", "Regex": r"Validation Macro-F1: ([0-9\.]+)"},
)


@dataclass(frozen=True)
class Launcher:
    """A way to start the processes: its image, and its instance if no other is named."""

    image: str
    instance: str
    instances: tuple[str, ...] = ()  # the only ones it runs on
    several: bool = True  # whether it spans machines


LAUNCHERS = {
    "smddp": Launcher(
        "pytorch-training:2.5.1-gpu-py311-cu124-ubuntu22.04-sagemaker",
        "ml.p4d.24xlarge",
        ("ml.p4d.24xlarge", "ml.p4de.24xlarge"),
    ),
    "torchrun": Launcher("pytorch-training:2.10.0-gpu-py313-cu130-ubuntu22.04-sagemaker", "ml.g5.12xlarge"),
    "cpu": Launcher(
        "pytorch-training:2.5.1-cpu-py311-ubuntu22.04-sagemaker", "ml.c7i.4xlarge", several=False
    ),
}


@dataclass(frozen=True)
class Job:
    """The description of a job; only `train.py` needs `training`."""

    name: str
    launcher: str
    role: str
    region: str
    registry: str  # host of the containers, such as 763104351884.dkr.ecr.us-east-1.amazonaws.com
    source: str  # s3:// address of `source.archive`
    output: str  # s3:// prefix, under which the job's own folder comes to lie
    training: str | None = None
    validation: str | None = None
    labels: str | None = None  # s3:// prefix of a file that names other locations than the ten
    champion: str | None = None  # s3:// address of the model.tar.gz that `--start champion` begins with
    program: str = PROGRAM
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    instance: str | None = None
    instances: int = 1
    spot: bool = False
    hours: float = 24
    volume_gb: int = 100  # the encoder, and activations of frozen layers: 11 GB for DeepLoc under ProtBERT


def request(job: Job) -> dict[str, Any]:
    """The CreateTrainingJob request; raises ValueError where program, launcher and instances do not fit."""
    if job.program not in PROGRAMS:
        raise ValueError(f"expected one of {', '.join(PROGRAMS)}, found {job.program}")
    trains = job.program == PROGRAM
    if trains and job.training is None:
        raise ValueError(f"expected training data for {PROGRAM}, found none")
    launcher = LAUNCHERS[job.launcher]
    instance = job.instance or launcher.instance
    if launcher.instances and instance not in launcher.instances:
        raise ValueError(f"expected {' or '.join(launcher.instances)} for {job.launcher}, found {instance}")
    if job.instances > 1 and not (launcher.several and trains):
        alone = job.launcher if trains else job.program
        raise ValueError(f"expected one instance for {alone}, found {job.instances}")
    seconds = round(job.hours * 3600)
    named = {name: getattr(job, name) for name in ("training", "validation", "labels", "champion")}
    channels = [_channel(name, uri) for name, uri in named.items() if uri is not None]
    output = job.output.rstrip("/")
    kept = f"{output}/{job.name}/checkpoints"
    return {
        "TrainingJobName": job.name,
        "RoleArn": job.role,
        "AlgorithmSpecification": {
            "TrainingImage": f"{job.registry}/{launcher.image}",
            "TrainingInputMode": "File",
        }
        | ({"MetricDefinitions": [dict(metric) for metric in METRICS]} if trains else {}),
        **({"InputDataConfig": channels} if channels else {}),
        "OutputDataConfig": {"S3OutputPath": output},
        "ResourceConfig": {
            "InstanceCount": job.instances,
            "InstanceType": instance,
            "VolumeSizeInGB": job.volume_gb,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds}
        # A spot job may wait for an instance as long again as it may run.
        | ({"MaxWaitTimeInSeconds": 2 * seconds} if job.spot else {}),
        "EnableManagedSpotTraining": job.spot,
        **({"CheckpointConfig": {"S3Uri": kept, "LocalPath": CHECKPOINTS}} if trains else {}),
        "HyperParameters": hyperparameters(job, instance),
    }


def hyperparameters(job: Job, instance: str) -> dict[str, str]:
    """The program's settings and the training toolkit's, JSON in strings as SageMaker's SDK sends them."""
    values: dict[str, Any] = dict(job.hyperparameters) | {
        "sagemaker_submit_directory": job.source,
        "sagemaker_program": job.program,
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": job.name,
        "sagemaker_region": job.region,
    }
    trains = job.program == PROGRAM  # the others are one process
    if trains and job.launcher == "smddp":
        values |= {
            "sagemaker_distributed_dataparallel_enabled": True,
            "sagemaker_instance_type": instance,
            "sagemaker_distributed_dataparallel_custom_mpi_options": "",
        }
    elif trains and job.launcher == "torchrun":
        values["sagemaker_torch_distributed_enabled"] = True
    return {name: json.dumps(value) for name, value in values.items()}


def _channel(name: str, uri: str) -> dict[str, Any]:
    place = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": place}}
