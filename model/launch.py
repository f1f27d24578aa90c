"""Starts a job on SageMaker with its Python SDK, follows its log and prints where its model lies.

    python -m model.launch --name protbert-1 --stack protloc --launcher smddp --training mine.fasta \
        --hyperparameter encoder=s3://BUCKET/prot_bert_bfd/ --hyperparameter frozen_layers=15

The request is that of `job.request`; `--dry-run` prints it. The SDK (v3, `pip install 'protloc[sagemaker]'`)
knows the registry of a region's containers, creates the job and streams its log. The calls used here send no
telemetry: in sagemaker-core only `@_telemetry_emitter` does, which they do not wear.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from model import source
from model.job import LAUNCHERS, PROGRAM, PROGRAMS, Job, request
from model.proteins.labelled import LABELLED_SUFFIXES, read_labelled
from model.proteins.labels import TEN, names_of, read_labels

POLL_SECONDS = 5
CHANNELS = ("training", "validation", "labels")
UPLOADED = "data/launched"  # where files of this machine are put in the bucket, by their content


class LaunchError(Exception):
    """The job cannot be started, or did not end well; the message is for the command line."""


def registry(launcher: str, region: str) -> str:
    """The host of the registry that holds a launcher's image in a region, by the SDK's own list."""
    image_uris = _sdk("image_uris")
    name, _, tag = LAUNCHERS[launcher].image.partition(":")
    version, _, python, *_ = tag.split("-")  # 2.5.1-gpu-py311-cu124-ubuntu22.04-sagemaker
    try:
        uri: str = image_uris.retrieve(
            name.removesuffix("-training"),
            region,
            version=version,
            py_version=python,
            instance_type=LAUNCHERS[launcher].instance,
            image_scope="training",
        )
    except ValueError as problem:
        raise LaunchError(f"expected a region with {name}:{tag}, found {region}: {problem}") from problem
    return uri.partition("/")[0]


def start(body: Mapping[str, Any], session: Any) -> Any:
    """Create a job by its request; returns the SDK's `TrainingJob`.

    Settings of an organisation in the SDK's own configuration (a VPC, keys) are added to the request.
    """
    fields = {**snake_cased(body), "hyper_parameters": dict(body["HyperParameters"])}
    return _sdk("resources").TrainingJob.create(session=session, region=session.region_name, **fields)


def snake_cased(value: Any) -> Any:
    """A request's fields by the names that the SDK gives them: `S3Uri` is `s3_uri`, at every depth."""
    from sagemaker.core.utils.utils import pascal_to_snake

    if isinstance(value, Mapping):
        return {pascal_to_snake(name): snake_cased(each) for name, each in value.items()}
    return [snake_cased(each) for each in value] if isinstance(value, list) else value


def follow(job: Any, region: str) -> str:
    """Print a job's log to standard error until it ends; returns its model.tar.gz. Raises LaunchError."""
    from sagemaker.core.utils.exceptions import FailedStatusError

    # The SDK reads logs with a client of its own, which knows the region from here alone.
    os.environ["AWS_DEFAULT_REGION"] = region
    log = logging.getLogger("sagemaker")
    handler = logging.StreamHandler(sys.stderr)  # standard output is the model's address alone
    handler.setFormatter(_LineOfLog())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        job.wait(poll=POLL_SECONDS, logs=True)
    except FailedStatusError as problem:
        raise LaunchError(f"{job.training_job_name} failed: {job.failure_reason}") from problem
    finally:
        log.removeHandler(handler)
    if job.training_job_status != "Completed":
        raise LaunchError(f"{job.training_job_name} ended as {job.training_job_status}")
    return str(job.model_artifacts.s3_model_artifacts)


class _LineOfLog(logging.Formatter):
    """The container's own line; the SDK puts the log stream's name on a line before it."""

    def format(self, record: logging.LogRecord) -> str:
        stream, _, line = record.getMessage().partition(":\n")
        return line if "/" in stream and line else record.getMessage().replace("[bold]", "")  # rich's markup


def _sdk(module: str) -> Any:
    """A module of the SageMaker SDK's core. Raises LaunchError where it is not installed."""
    try:
        return importlib.import_module(f"sagemaker.core.{module}")
    except ModuleNotFoundError as problem:
        if not (problem.name or "").startswith("sagemaker"):
            raise
        raise LaunchError("expected the SageMaker SDK: pip install 'protloc[sagemaker]'") from problem


def require_readable(files: Mapping[str, Path], *, several: bool = False) -> None:
    """Read the files of this machine, by channel, as the job will; raises ValueError where it could not."""
    labels = read_labels(files["labels"]) if "labels" in files else TEN
    for name in ("training", "validation"):
        if name in files and files[name].suffix in LABELLED_SUFFIXES:
            read_labelled(files[name], names_of(labels), several=several)


def prefix_of(path: Path) -> str:
    """The prefix under which a file becomes a channel: by its content, so that a job's data stay."""
    return f"{UPLOADED}/{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}/"


def outputs(client: Any, stack: str) -> dict[str, str]:
    """The outputs of a stack, by name: its role for training and its bucket of models."""
    [described] = client.describe_stacks(StackName=stack)["Stacks"]
    known = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", [])}
    if not {"TrainingRole", "ModelsBucket"} <= known.keys():
        raise LaunchError(f"expected a stack with TrainingRole and ModelsBucket, found {stack} without")
    return known


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected name=value, found {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Start a training job on SageMaker.", allow_abbrev=False)
    add = parser.add_argument
    add("--name", required=True, help="of the job; unique in the account and region")
    add("--stack", help="of this project: gives --role and --bucket")
    add("--role", help="ARN of the role that the job takes on")
    add("--bucket", help="holds the program, and under training/ what comes of it")
    add("--region", help="none: as AWS_REGION or the AWS configuration says")
    add("--launcher", choices=tuple(LAUNCHERS), default="torchrun")
    add("--registry", help="host of the containers' registry, if they are a copy of your own")
    add("--program", choices=PROGRAMS, default=PROGRAM)
    add("--training", help=f"labelled proteins for {PROGRAM}: a file here, or an s3:// prefix")
    add("--validation", help="a list, or labelled proteins, likewise; none: held out by homology")
    add("--labels", help="a file, likewise, that names other locations than the ten")
    add("--champion", help="s3:// address of the model.tar.gz that 'start=champion' begins with")
    add("--hyperparameter", type=_setting, action="append", default=[], metavar="NAME=VALUE")
    add("--instance", help="another than the launcher's own")
    add("--instances", type=int, default=1)
    add("--spot", action="store_true", help="spare capacity: cheaper, may be interrupted and goes on")
    add("--hours", type=float, default=24, help="the most it may run")
    add("--dry-run", action="store_true", help="print the request and do nothing")
    add("--no-wait", dest="wait", action="store_false", help="start the job and leave it")
    options = parser.parse_args(arguments)
    if options.stack is None and not (options.role and options.bucket):
        parser.error("expected --stack, or --role and --bucket")
    for name in CHANNELS:
        place = getattr(options, name)
        if place is not None and not place.startswith("s3://") and not Path(place).is_file():
            parser.error(f"expected --{name} as a file or an s3:// prefix, found {place}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Upload the local inputs, start the job and follow it; with `--dry-run` print the request."""
    options = parse(arguments)
    try:
        launch(options)
    except (LaunchError, ValueError, BotoCoreError, ClientError) as problem:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {problem}") from problem


def launch(options: argparse.Namespace) -> None:
    """Do as the command line says. Raises LaunchError, and ValueError for a job that cannot be."""
    import boto3  # here only, so that a request can be made without

    region = options.region or os.environ.get("AWS_REGION") or boto3.Session().region_name
    if region is None:
        raise LaunchError("expected a region in --region, AWS_REGION or the AWS configuration, found none")
    session = boto3.Session(region_name=region)
    known = {}
    if options.stack is not None:
        known = outputs(session.client("cloudformation"), options.stack)
    bucket = options.bucket or known["ModelsBucket"]
    archive = source.archive()
    key = source.key_of(archive)
    places = {name: getattr(options, name) for name in CHANNELS}
    files = {name: Path(place) for name, place in places.items() if place and not place.startswith("s3://")}
    if options.labels is None or "labels" in files:
        require_readable(files, several=dict(options.hyperparameter).get("several") is True)
    for name, path in files.items():
        places[name] = f"s3://{bucket}/{prefix_of(path)}"
    body = request(
        Job(
            name=options.name,
            launcher=options.launcher,
            role=options.role or known["TrainingRole"],
            region=region,
            registry=options.registry or registry(options.launcher, region),
            source=f"s3://{bucket}/{key}",
            output=f"s3://{bucket}/training",
            **places,
            champion=options.champion,
            program=options.program,
            hyperparameters=dict(options.hyperparameter),
            instance=options.instance,
            instances=options.instances,
            spot=options.spot,
            hours=options.hours,
        )
    )
    if options.dry_run:
        print(json.dumps(body, indent=2))
        return
    s3 = session.client("s3")
    for path in files.values():
        s3.upload_file(str(path), bucket, prefix_of(path) + path.name)
    s3.put_object(Bucket=bucket, Key=key, Body=archive)
    job = start(body, session)
    if not options.wait:
        print(job.training_job_arn)
        return
    print(f"{job.training_job_arn} is in work; Ctrl-C leaves it so", file=sys.stderr, flush=True)
    artifact = follow(job, region)
    stack = f" --stack {options.stack}" if options.stack else ""
    print(f"It answers after: protloc models add {artifact}{stack}", file=sys.stderr)
    print(artifact)


if __name__ == "__main__":
    main()
