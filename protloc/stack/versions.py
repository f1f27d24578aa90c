"""Model versions into service: an artifact goes into the models bucket, and the state machine does the rest.

An artifact is a folder, its `model.tar.gz`, or the s3:// address of one. It is read, and refused if it is not
whole, before anything is uploaded. The state machine hosts it beside the active version, tries it, and makes
it the active one; one that fails leaves the active version as it is.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from functions.domain.locations import LOCATION_NAMES
from model import source
from model.proteins.labels import LabelsError, own_labels
from model.serving.artifact import Artifact, ArtifactError, pack, read_artifact, unpack
from protloc.errors import UploadProblem, UsageProblem
from protloc.stack import executions
from protloc.stack.client import TRANSFER, Client, split_uri

START_SECONDS = 3600.0

Tell = Callable[[str], None]


def add(
    client: Client,
    artifact: str,
    tell: Tell,
    *,
    wait: bool = True,
    agree: Callable[[str], None] = lambda version: None,
) -> str:
    """Put an artifact into service and return its version. Raises UsageProblem if there is no artifact.

    `agree` is called before anything of it is sent or run, and raises where it may not be.
    """
    with tempfile.TemporaryDirectory(prefix="protloc-") as folder:
        packed, description = _packed(client, artifact, Path(folder))
        version = description.version
        labels = _labels(description)
        refuse_known(client, version, 'give the artifact another "version" in its artifact.json')
        agree(version)
        bucket, key = client.outputs["ModelsBucket"], f"models/{version}/model.tar.gz"
        if artifact == f"s3://{bucket}/{key}":
            tell(f"{version}: already in the models bucket")
        else:
            tell(f"{version}: uploading {packed.stat().st_size / 1e6:.1f} MB")
            client.client("s3").upload_file(str(packed), bucket, key, Config=TRANSFER)
    # So that the next version can be trained from here.
    source.publish(client.client, bucket, client.outputs["ModelsTable"])
    request = {"artifact": f"s3://{bucket}/{key}", "metrics": dict(description.metrics), **labels}
    put_into_service(client, version, request, tell, wait=wait)
    return version


def _labels(description: Artifact) -> dict[str, str]:
    """The labels of a model for the state machine; empty for DeepLoc's ten, of which a protein has one."""
    try:
        own = own_labels(description)
    except LabelsError as error:
        raise UsageProblem(f"{description.version}: {error}") from None
    if not own and description.locations != LOCATION_NAMES:
        other = next((name for name in description.locations if name not in LOCATION_NAMES), "another order")
        raise UsageProblem(
            f"{description.version}: expected DeepLoc's ten locations, or `labels` in artifact.json that "
            f"describe others, found {other!r} and no such list"
        )
    return {"labels": json.dumps(own)} if own else {}


def put_into_service(
    client: Client, version: str, request: Mapping[str, Any], tell: Tell, *, wait: bool
) -> None:
    """Have the state machine host an artifact of S3 that is `request["artifact"]`, try it and promote it."""
    execution = executions.start(client, version, request)
    if wait:
        follow(client, execution, version, tell)


def follow(client: Client, execution: str, version: str, tell: Tell) -> None:
    """Wait for a version to get into service, telling the steps. Raises UploadProblem if it does not."""
    try:
        description = executions.follow(
            client, execution, lambda step: tell(f"{version}: {step}"), START_SECONDS
        )
    except TimeoutError:
        raise UploadProblem(
            f"{version} is not in service after {START_SECONDS:g} s; look at {execution}"
        ) from None
    if description["status"] != executions.SUCCEEDED:
        raise UploadProblem(f"{version} did not get into service: {executions.reason(description)}")
    ended = json.loads(description["output"])
    if ended["outcome"] != "Promoted":
        raise UploadProblem(f"{version} did not get into service: {ended['reason']}")


def refuse_known(client: Client, version: str, instead: str) -> None:
    """A version never changes, so one of the same name cannot be added, unless the first attempt failed."""
    for known in client.models()["models"]:
        if known["version"] == version and known["state"] != "failed":
            raise UsageProblem(f"there is a model version {version} already ({known['state']}); {instead}")


def _packed(client: Client, artifact: str, folder: Path) -> tuple[Path, Artifact]:
    """The artifact as a model.tar.gz, and its description."""
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
