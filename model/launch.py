"""A job on SageMaker: the exact CreateTrainingJob request, and the call.

    python -m model.launch --name protbert-1 --launcher smddp --role ARN --bucket BUCKET \
        --training s3://BUCKET/data/training --hyperparameter epochs=3 --dry-run

Image, launcher and instance are one setting, since SMDDP is in no image from PyTorch 2.6 on and on p4d
instances only. Programs beside `train.py` (a snapshot of the labels, a judgement) are jobs of the same kind
in the same image, of one process and without channels. The request is what SageMaker's own SDK sent when it
still launched SMDDP (v2, captured); it is proven against the API's model and the training toolkit, but has
not run in an AWS account.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model import source

PROGRAM = "model/train.py"
PROGRAMS = (PROGRAM, "model/snapshot.py", "model/evaluate.py")
CHECKPOINTS = "/opt/ml/checkpoints"
# What the log is searched for; the first three are the article's, to the letter.
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


# Whose the containers are: in these regions others' than in most. The template's Registries names all.
REGISTRY = "763104351884"
REGISTRIES = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "mx-central-1": "637423239942",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}


@dataclass(frozen=True)
class Job:
    """The description of a job; only `train.py` needs `training`."""

    name: str
    launcher: str
    role: str
    region: str
    source: str  # s3:// address of `source.archive`
    output: str  # s3:// prefix, under which the job's own folder comes to lie
    training: str | None = None
    validation: str | None = None
    champion: str | None = None  # s3:// address of the model.tar.gz that `--start champion` begins with
    program: str = PROGRAM
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    instance: str | None = None
    instances: int = 1
    spot: bool = False
    hours: float = 24
    volume_gb: int = 100  # the encoder, and activations of frozen layers: 11 GB for DeepLoc under ProtBERT
    image_account: str | None = None  # None: whose AWS's containers are in the region


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
    suffix = "amazonaws.com.cn" if job.region.startswith("cn-") else "amazonaws.com"
    seconds = round(job.hours * 3600)
    named = {"training": job.training, "validation": job.validation, "champion": job.champion}
    channels = [_channel(name, uri) for name, uri in named.items() if uri is not None]
    account = job.image_account or REGISTRIES.get(job.region, REGISTRY)
    output = job.output.rstrip("/")
    kept = f"{output}/{job.name}/checkpoints"
    return {
        "TrainingJobName": job.name,
        "RoleArn": job.role,
        "AlgorithmSpecification": {
            "TrainingImage": f"{account}.dkr.ecr.{job.region}.{suffix}/{launcher.image}",
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
    said: dict[str, Any] = dict(job.hyperparameters) | {
        "sagemaker_submit_directory": job.source,
        "sagemaker_program": job.program,
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": job.name,
        "sagemaker_region": job.region,
    }
    trains = job.program == PROGRAM  # the others are one process
    if trains and job.launcher == "smddp":
        said |= {
            "sagemaker_distributed_dataparallel_enabled": True,
            "sagemaker_instance_type": instance,
            "sagemaker_distributed_dataparallel_custom_mpi_options": "",
        }
    elif trains and job.launcher == "torchrun":
        said["sagemaker_torch_distributed_enabled"] = True
    return {name: json.dumps(value) for name, value in said.items()}


def _channel(name: str, uri: str) -> dict[str, Any]:
    place = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": place}}


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected name=value, found {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Start a training job on SageMaker.", allow_abbrev=False)
    add = parser.add_argument
    add("--name", required=True, help="of the job; unique in the account and region")
    add("--launcher", choices=tuple(LAUNCHERS), default="torchrun")
    add("--role", required=True, help="ARN of the role that the job takes on")
    add("--region", default="us-east-1")
    add("--bucket", required=True, help="holds the program, and under training/ what comes of it")
    add("--program", choices=PROGRAMS, default=PROGRAM)
    add("--training", help=f"s3:// prefix of labelled proteins, for {PROGRAM}")
    add("--validation", help="s3:// prefix of a list or of labelled proteins; none: held out by homology")
    add("--champion", help="s3:// address of the model.tar.gz that 'start=champion' begins with")
    add("--hyperparameter", type=_setting, action="append", default=[], metavar="NAME=VALUE")
    add("--instance", help="another than the launcher's own")
    add("--instances", type=int, default=1)
    add("--spot", action="store_true", help="spare capacity: cheaper, may be interrupted and goes on")
    add("--hours", type=float, default=24, help="the most it may run")
    add("--dry-run", action="store_true", help="print the request and do nothing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Upload the program and start the job, or with `--dry-run` print the request as JSON."""
    options = parse(arguments)
    archive = source.archive()
    key = source.key_of(archive)
    job = Job(
        name=options.name,
        launcher=options.launcher,
        role=options.role,
        region=options.region,
        source=f"s3://{options.bucket}/{key}",
        output=f"s3://{options.bucket}/training",
        training=options.training,
        validation=options.validation,
        champion=options.champion,
        program=options.program,
        hyperparameters=dict(options.hyperparameter),
        instance=options.instance,
        instances=options.instances,
        spot=options.spot,
        hours=options.hours,
    )
    body = request(job)
    if options.dry_run:
        print(json.dumps(body, indent=2))
        return
    import boto3  # here only, so that a request can be made without

    boto3.client("s3", region_name=job.region).put_object(Bucket=options.bucket, Key=key, Body=archive)
    print(boto3.client("sagemaker", region_name=job.region).create_training_job(**body)["TrainingJobArn"])


if __name__ == "__main__":
    main()
