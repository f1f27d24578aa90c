"""A SageMaker training job on this machine: folders, configuration files, variables and arguments as in the
container.

The source comes from `sagemaker_submit_directory`, the program from `sagemaker_program`, as the training
toolkit of SageMaker's containers reads them. Files are fetched and stored as the job's role, checkpoints
while it runs. The program is `confined` to the folder and the cloud. The folder and its log are kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from model.serving.artifact import extracted
from protloc.cloud.sagemaker.checkpoints import Checkpoints
from protloc.cloud.sagemaker.job_log import JobLog
from protloc.cloud.sagemaker.servers import CONFINED, base_environment, further_folders
from protloc.cloud.sagemaker.storage import Storage

ATTACHED = Path(__file__).with_name("attached.py")
HOST = "algo-1"
FAILURE_CHARACTERS = 1024
STOP_SECONDS = 120.0  # as SageMaker, between SIGTERM and SIGKILL
POLL_SECONDS = 2.0  # between two looks at the checkpoints
CHECKPOINT_PATH = "/opt/ml/checkpoints"  # where they are in the container, unless the job says otherwise
# How a process ends that an instance going away takes with it: asked first, then killed.
KILLED = {end for number in (signal.SIGTERM, signal.SIGKILL) for end in (-number, 128 + number)}
LOGS = ("train.log", "stderr.log")


class JobFailed(Exception):
    """The job cannot go on; the message becomes its FailureReason."""


class Interrupted(JobFailed):
    """The job's process was killed from outside, as when a spot instance is taken away."""


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
    own_variables = {
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
    own_variables |= {
        f"SM_CHANNEL_{name.upper()}": str(folder / "input" / "data" / name) for name in channels
    }
    return own_variables | {
        f"SM_HP_{name.upper().replace('-', '_')}": str(value) for name, value in own.items()
    }


def metrics(definitions: list[dict[str, str]], log: str) -> list[dict[str, Any]]:
    """The last value of every metric the job's log shows."""
    series = []
    for definition in definitions:
        values = re.findall(definition["Regex"], log)
        if values:
            series.append(
                {"MetricName": definition["Name"], "Value": float(values[-1]), "Timestamp": time.time()}
            )
    return series


def run(
    job: dict[str, Any],
    folder: Path,
    storage: Storage,
    environment: Mapping[str, str],
    seconds: float,
    started: Callable[[subprocess.Popen[bytes]], None],
    enter: Callable[[str], None] = lambda status: None,
) -> dict[str, Any]:
    """One attempt at the job, for so many seconds at most; gives the fields its description gains.

    `enter` is told every secondary status. Raises `JobFailed`: `Interrupted` where another attempt may help.
    """
    values = decoded(job.get("HyperParameters", {}))
    program, source = values.get("sagemaker_program"), values.get("sagemaker_submit_directory")
    if not program or not source:
        raise JobFailed(
            "ClientError: expected the hyperparameters sagemaker_program and sagemaker_submit_directory"
        )
    _clear(folder)
    for part in ("model", "output/data", "input/config", "code"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    checkpoints, place = None, job.get("CheckpointConfig")
    if place is not None:
        checkpoints = Checkpoints(folder / "checkpoints", place["S3Uri"], storage)
        inside = Path(place.get("LocalPath") or CHECKPOINT_PATH)
        values = {
            name: str(folder / "checkpoints") if isinstance(value, str) and Path(value) == inside else value
            for name, value in values.items()
        }
    enter("Downloading")
    _fetch(job, folder, storage, str(source), checkpoints)
    enter("Training")
    status = _run_program(job, folder, values, environment, checkpoints, seconds, started)
    if status is None:
        return {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}
    if status != 0:
        tail = (folder / "stderr.log").read_text(errors="replace")[-FAILURE_CHARACTERS:].strip()
        failure = folder / "output" / "failure"
        reason = (
            failure.read_text(errors="replace")
            if failure.exists()
            else f"{program} ended with {status}: {tail}"
        )
        kind = Interrupted if status in KILLED else JobFailed
        raise kind(f"AlgorithmError: {reason}"[:FAILURE_CHARACTERS])
    enter("Uploading")
    output = f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job['TrainingJobName']}/output"
    _store(folder / "model", folder / "model.tar.gz", storage, f"{output}/model.tar.gz")
    if any((folder / "output" / "data").iterdir()):
        _store(folder / "output" / "data", folder / "output.tar.gz", storage, f"{output}/output.tar.gz")
    text = "".join((folder / name).read_text(errors="replace") for name in LOGS)
    return {
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "ModelArtifacts": {"S3ModelArtifacts": f"{output}/model.tar.gz"},
        "FinalMetricDataList": metrics(job["AlgorithmSpecification"].get("MetricDefinitions", []), text),
    }


def _run_program(
    job: Mapping[str, Any],
    folder: Path,
    values: Mapping[str, Any],
    environment: Mapping[str, str],
    checkpoints: Checkpoints | None,
    seconds: float,
    started: Callable[[subprocess.Popen[bytes]], None],
) -> int | None:
    """The exit status of the job's program, None where its time was over; its checkpoints are in S3."""
    (folder / "input/config/hyperparameters.json").write_text(json.dumps(job.get("HyperParameters", {})))
    (folder / "input/config/resourceconfig.json").write_text(
        json.dumps({"current_host": HOST, "hosts": [HOST]})
    )
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    sent = JobLog(str(job["TrainingJobName"]), HOST, [folder / name for name in LOGS], environment)
    environment = {
        **base_environment(folder),
        "PYTHONPATH": str(folder / "code"),
        **({"PROTLOC_CHECKPOINT_DIR": str(folder / "checkpoints")} if checkpoints else {}),
        **environment,
        **variables(job, folder, values, gpus),
        **job.get("Environment", {}),
    }
    command = [
        *(sys.executable, "-P", str(ATTACHED), str(os.getpid())),
        *(sys.executable, "-P", str(CONFINED), "--job", _port(job, environment), str(folder), str(folder)),
        *(*further_folders(), "--"),
        *(sys.executable, str(values["sagemaker_program"])),
        *arguments(values),
    ]
    with (folder / "train.log").open("ab") as log, (folder / "stderr.log").open("ab") as errors:
        process = subprocess.Popen(
            command, cwd=folder / "code", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=errors
        )
        started(process)
        status, end = None, time.monotonic() + seconds
        try:
            while status is None and (remaining := end - time.monotonic()) > 0:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(min(POLL_SECONDS, remaining))
                sent.send()
                if checkpoints is not None:
                    checkpoints.store()
            if status is None:
                stop(process)
                if checkpoints is not None:
                    checkpoints.store()
        except Exception as problem:
            stop(process)
            raise JobFailed(
                f"ClientError: Checkpoint upload failed: {problem}"[:FAILURE_CHARACTERS]
            ) from problem
        finally:
            sent.send(last=True)
    return status


def _port(job: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The cloud's port, the only one that a job may connect to; 0 where it is isolated."""
    port = urlsplit(environment.get("AWS_ENDPOINT_URL", "")).port
    return "0" if job.get("EnableNetworkIsolation") else str(port or 0)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a job as SageMaker does: ask, wait, then make it."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()  # the second time, `attached` kills


def _clear(folder: Path) -> None:
    """Remove the files of an earlier attempt; only its log is kept."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in LOGS:
            path.unlink()


def _fetch(
    job: Mapping[str, Any], folder: Path, storage: Storage, source: str, checkpoints: Checkpoints | None
) -> None:
    try:
        for channel in job.get("InputDataConfig", []):
            place = channel["DataSource"]["S3DataSource"]
            storage.fetch_prefix(place["S3Uri"], folder / "input" / "data" / channel["ChannelName"])
        storage.fetch(source, folder / "sourcedir.tar.gz")
        if checkpoints is not None:
            checkpoints.fetch()
    except Exception as problem:
        raise JobFailed(f"ClientError: Data download failed: {problem}"[:FAILURE_CHARACTERS]) from problem
    extracted(folder / "sourcedir.tar.gz", folder / "code")


def _store(folder: Path, archive: Path, storage: Storage, uri: str) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    try:
        storage.store(archive, uri)
    except Exception as problem:
        raise JobFailed(f"ClientError: Artifact upload failed: {problem}"[:FAILURE_CHARACTERS]) from problem
