"""A SageMaker training job on this machine: folders, configuration files, variables and arguments as in the
container.

The source comes from `sagemaker_submit_directory`, the program from `sagemaker_program`, as the training
toolkit of SageMaker's containers reads them. Files are fetched and stored as the job's role. The folder and
its log are kept.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from model.artifact import extract

ATTACHED = Path(__file__).with_name("attached.py")
HOST = "algo-1"
FAILURE_CHARACTERS = 1024
STOP_SECONDS = 120.0  # what SageMaker gives a job between SIGTERM and SIGKILL


class Storage(Protocol):
    """S3, as one role sees it. URIs are `s3://bucket/key`."""

    def fetch(self, uri: str, path: Path) -> None: ...

    def fetch_prefix(self, uri: str, folder: Path) -> None: ...

    def store(self, path: Path, uri: str) -> None: ...


class JobFailed(Exception):
    """The job cannot go on; the message becomes its FailureReason."""


def decoded(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Hyperparameters as the toolkit reads them: JSON where it is JSON, else the string."""
    values: dict[str, Any] = {}
    for name, text in hyperparameters.items():
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def arguments(values: Mapping[str, Any]) -> list[str]:
    """`--name value` for every hyperparameter that is the program's own."""
    words: list[str] = []
    for name in sorted(values):
        if not name.startswith("sagemaker_"):
            value = values[name]
            words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return words


def variables(job: Mapping[str, Any], folder: Path, values: Mapping[str, Any], gpus: int) -> dict[str, str]:
    """The `SM_*` variables of the training toolkit."""
    own = {name: value for name, value in values.items() if not name.startswith("sagemaker_")}
    channels = sorted(channel["ChannelName"] for channel in job.get("InputDataConfig", []))
    given = {
        "SM_MODEL_DIR": str(folder / "model"),
        "SM_INPUT_DIR": str(folder / "input"),
        "SM_INPUT_CONFIG_DIR": str(folder / "input" / "config"),
        "SM_OUTPUT_DIR": str(folder / "output"),
        "SM_OUTPUT_DATA_DIR": str(folder / "output" / "data"),
        "SM_CHANNELS": json.dumps(channels),
        "SM_HPS": json.dumps(own),
        "SM_HOSTS": json.dumps([HOST]),
        "SM_CURRENT_HOST": HOST,
        "SM_NUM_GPUS": str(gpus),
        "SM_NUM_CPUS": str(os.cpu_count() or 1),
        "SM_USER_ENTRY_POINT": str(values.get("sagemaker_program", "")),
        "SM_USER_ARGS": json.dumps(arguments(values)),
        "TRAINING_JOB_NAME": str(job["TrainingJobName"]),
        "TRAINING_JOB_ARN": str(job["TrainingJobArn"]),
    }
    given |= {f"SM_CHANNEL_{name.upper()}": str(folder / "input" / "data" / name) for name in channels}
    return given | {f"SM_HP_{name.upper().replace('-', '_')}": str(value) for name, value in own.items()}


def metrics(definitions: list[dict[str, str]], log: str) -> list[dict[str, Any]]:
    """The last value of every metric the job's log shows."""
    found = []
    for definition in definitions:
        values = re.findall(definition["Regex"], log)
        if values:
            found.append(
                {"MetricName": definition["Name"], "Value": float(values[-1]), "Timestamp": time.time()}
            )
    return found


def run(
    job: dict[str, Any],
    folder: Path,
    storage: Storage,
    environment: Mapping[str, str],
    started: Callable[[subprocess.Popen[bytes]], None],
) -> dict[str, Any]:
    """Run the job to its end and give the fields its description gains. Raises `JobFailed`."""
    values = decoded(job.get("HyperParameters", {}))
    program, source = values.get("sagemaker_program"), values.get("sagemaker_submit_directory")
    if not program or not source:
        raise JobFailed(
            "ClientError: expected the hyperparameters sagemaker_program and sagemaker_submit_directory"
        )
    for part in ("model", "output/data", "input/config", "code"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _fetch(job, folder, storage, str(source))
    (folder / "input/config/hyperparameters.json").write_text(json.dumps(job.get("HyperParameters", {})))
    (folder / "input/config/resourceconfig.json").write_text(
        json.dumps({"current_host": HOST, "hosts": [HOST]})
    )
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(folder / "code"),
        **environment,
        **variables(job, folder, values, gpus),
        **job.get("Environment", {}),
    }
    command = [
        sys.executable,
        "-P",
        str(ATTACHED),
        str(os.getpid()),
        sys.executable,
        str(program),
        *arguments(values),
    ]
    with (folder / "train.log").open("wb") as log, (folder / "stderr.log").open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=folder / "code", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=errors
        )
        started(process)
        limit = int(job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400))
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            stop(process)
            return {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}
    if status != 0:
        tail = (folder / "stderr.log").read_text(errors="replace")[-FAILURE_CHARACTERS:].strip()
        failure = folder / "output" / "failure"
        reason = (
            failure.read_text(errors="replace")
            if failure.exists()
            else f"{program} ended with {status}: {tail}"
        )
        raise JobFailed(f"AlgorithmError: {reason}"[:FAILURE_CHARACTERS])
    output = f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job['TrainingJobName']}/output"
    _store(folder / "model", folder / "model.tar.gz", storage, f"{output}/model.tar.gz")
    if any((folder / "output" / "data").iterdir()):
        _store(folder / "output" / "data", folder / "output.tar.gz", storage, f"{output}/output.tar.gz")
    text = "".join((folder / name).read_text(errors="replace") for name in ("train.log", "stderr.log"))
    return {
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "ModelArtifacts": {"S3ModelArtifacts": f"{output}/model.tar.gz"},
        "FinalMetricDataList": metrics(job["AlgorithmSpecification"].get("MetricDefinitions", []), text),
    }


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a job as SageMaker does: ask, wait, then make it."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _fetch(job: Mapping[str, Any], folder: Path, storage: Storage, source: str) -> None:
    try:
        for channel in job.get("InputDataConfig", []):
            place = channel["DataSource"]["S3DataSource"]
            storage.fetch_prefix(place["S3Uri"], folder / "input" / "data" / channel["ChannelName"])
        storage.fetch(source, folder / "sourcedir.tar.gz")
    except Exception as problem:
        raise JobFailed(f"ClientError: Data download failed: {problem}"[:FAILURE_CHARACTERS]) from problem
    with tarfile.open(folder / "sourcedir.tar.gz") as archive:
        extract(archive, folder / "code")


def _store(folder: Path, archive: Path, storage: Storage, uri: str) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    try:
        storage.store(archive, uri)
    except Exception as problem:
        raise JobFailed(f"ClientError: Artifact upload failed: {problem}"[:FAILURE_CHARACTERS]) from problem
