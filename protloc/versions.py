"""Model versions into service: an artifact goes into the models bucket, and the state machine does the rest.

An artifact is a folder, its `model.tar.gz`, or the s3:// address of one. It is read, and refused if it is
not whole, before anything is uploaded. The state machine hosts it beside the active version, tries it, and
makes it the active one; what fails leaves the active version as it is.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from model.artifact import Artifact, ArtifactError, pack, read_artifact, unpack
from protloc.client import TRANSFER, Client, split_uri
from protloc.cloud.deploy import upload_training_source
from protloc.errors import UploadProblem, UsageProblem

POLL_SECONDS = 0.5
START_SECONDS = 3600.0
STEPS = {  # the states a person would want to hear of
    "Register": "registering",
    "Host": "creating the model",
    "AddComponent": "starting its server",
    "Smoke": "trying it on known proteins",
    "Promote": "making it the active version",
    "RemoveComponent": "it failed; taking it away again",
}

Tell = Callable[[str], None]


def add(client: Client, artifact: str, tell: Tell, *, wait: bool = True) -> str:
    """Put an artifact into service and return its version. Raises UsageProblem for what is no artifact."""
    with tempfile.TemporaryDirectory(prefix="protloc-") as folder:
        packed, description = _packed(client, artifact, Path(folder))
        version = description.version
        _refuse_known(client, version)
        bucket, key = client.outputs["ModelsBucket"], f"models/{version}/model.tar.gz"
        if artifact == f"s3://{bucket}/{key}":
            tell(f"{version}: already in the models bucket")
        else:
            tell(f"{version}: uploading {packed.stat().st_size / 1e6:.1f} MB")
            client.client("s3").upload_file(str(packed), bucket, key, Config=TRANSFER)
    upload_training_source(client.client("s3"), bucket)  # so that the next version can be trained from here
    request = {"artifact": f"s3://{bucket}/{key}", "version": version, "metrics": dict(description.metrics)}
    execution = client.client("stepfunctions").start_execution(
        stateMachineArn=client.outputs["RetrainStateMachine"],
        name=f"{version}-{secrets.token_hex(4)}",
        input=json.dumps(request),
    )["executionArn"]
    if wait:
        follow(client, execution, version, tell)
    return version


def follow(client: Client, execution: str, version: str, tell: Tell) -> None:
    """Wait for an execution of the state machine, telling its steps. Raises UploadProblem if it fails."""
    states = client.client("stepfunctions")
    deadline = time.monotonic() + START_SECONDS
    told: list[str] = []
    while time.monotonic() < deadline:
        found = states.describe_execution(executionArn=execution)
        for step in _steps(states, execution)[len(told) :]:
            told.append(step)
            tell(f"{version}: {STEPS[step]}")
        if found["status"] == "SUCCEEDED":
            return
        if found["status"] != "RUNNING":
            cause = str(found.get("cause") or found.get("error") or found["status"])
            raise UploadProblem(f"{version} did not get into service: {' '.join(cause.split())}")
        time.sleep(POLL_SECONDS)
    raise UploadProblem(f"{version} is not in service after {START_SECONDS:g} s; look at {execution}")


def running_execution(client: Client, version: str) -> str | None:
    """The execution that is putting a version into service just now."""
    found = client.client("stepfunctions").list_executions(
        stateMachineArn=client.outputs["RetrainStateMachine"], statusFilter="RUNNING"
    )["executions"]
    return next((e["executionArn"] for e in found if e["name"].rpartition("-")[0] == version), None)


def _steps(states: Any, execution: str) -> list[str]:
    """The steps worth telling that an execution has entered, in order, each once."""
    events = states.get_execution_history(executionArn=execution, maxResults=1000)["events"]
    entered = (event.get("stateEnteredEventDetails", {}).get("name") for event in events)
    return list(dict.fromkeys(name for name in entered if name in STEPS))


def _refuse_known(client: Client, version: str) -> None:
    """A version never changes, so one of the same name cannot be added, unless the first attempt failed."""
    for known in client.models()["models"]:
        if known["version"] == version and known["state"] != "failed":
            raise UsageProblem(
                f"there is a model version {version} already ({known['state']}); give the artifact another "
                f'"version" in its artifact.json'
            )


def _packed(client: Client, artifact: str, folder: Path) -> tuple[Path, Artifact]:
    """The artifact as a model.tar.gz, and what it says of itself."""
    packed = folder / "model.tar.gz"
    source = Path(artifact)
    try:
        if artifact.startswith("s3://"):
            split_uri(artifact)
            client.download(artifact, packed)
        elif source.is_dir():
            return pack(source, packed), read_artifact(source)
        elif source.is_file():
            packed = source
        else:
            raise UsageProblem(
                f"there is no {artifact}; give an artifact's folder, its model.tar.gz or s3:// address"
            )
        return packed, unpack(packed, folder / "unpacked")
    except ArtifactError as error:
        raise UsageProblem(str(error)) from None
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        raise UsageProblem(f"there is no {artifact}") from None
