"""Deploy the project's template into a cloud, as `sam package` and `sam deploy` do, without the SAM CLI.

The template goes in as it is but for the places of its code: each local `CodeUri` and `DefinitionUri` becomes
an object in an artifacts bucket named by its content, so the same code is the same template and is not
deployed twice. The zip holds the sources only: on this machine the functions' dependencies come from the
environment the cloud runs in.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import botocore.exceptions

from model import source
from protloc.cloud.connection import STACK, Cloud, stack_outputs
from protloc.project import PROJECT, TEMPLATE
from protloc.stack.adoption import adopt, note_unhosted
from protloc.stack.naming import check_stack_name
from protloc.stack.template import parse

BUCKET = "protloc-artifacts"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
NEVER_CREATED_STATES = {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"}
POLL_SECONDS = 0.1
DEPLOY_SECONDS = 300.0  # without any progress
EPOCH = (1980, 1, 1, 0, 0, 0)
LEFT_OUT = {"__pycache__"}


class DeployError(Exception):
    """The stack could not be deployed; the message holds the events that failed."""


def deploy(
    cloud: Cloud,
    template: Path = TEMPLATE,
    stack: str = STACK,
    parameters: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Create or update the stack where something changed, and give its outputs.

    Raises `DeployError`, and `BadStackName` before anything is made.
    """
    check_stack_name(stack)
    body, objects = package(template, parameters or {})
    client = cloud.client("cloudformation")
    try:
        description = _describe(client, stack)
        if description is not None and description["StackStatus"] in NEVER_CREATED_STATES:
            client.delete_stack(StackName=stack)  # nothing but a rest of a first attempt
            _wait(client, stack, gone=True)
            description = None
        if description is None and adopt(cloud.client, body, stack, partial(note_unhosted, cloud.client)):
            description = _describe(client, stack)
        if description is None or not _same(client, stack, description, body):
            _upload(cloud, objects)
            _apply(cloud, client, stack, description, body, parameters or {})
        outputs = stack_outputs(cloud, stack)
        if "ModelsBucket" in outputs and (PROJECT / "model").is_dir():
            source.publish(cloud.client, outputs["ModelsBucket"], outputs["ModelsTable"])
    except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as problem:
        raise DeployError(f"stack {stack}: the cloud does not answer: {problem}") from problem
    return outputs


def package(template: Path, parameters: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The template with its local files replaced by artifacts, and these artifacts by key."""
    body = parse(template.read_text(encoding="utf-8"))
    objects: dict[str, bytes] = {}

    def stored(content: bytes, suffix: str) -> dict[str, str]:
        key = hashlib.sha256(content).hexdigest()[:32] + suffix
        objects[key] = content
        return {"Bucket": BUCKET, "Key": key}

    root = PROJECT if template == TEMPLATE else template.parent
    globals_function = body.get("Globals", {}).get("Function", {})
    shared = globals_function.pop("CodeUri", None)
    for resource in body["Resources"].values():
        properties = resource.setdefault("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function" and "InlineCode" not in properties:
            code = properties.get("CodeUri", shared)
            if isinstance(code, str) and not code.startswith("s3://"):
                folder = root / code
                properties_of_build = resource.get("Metadata", {}).get("BuildProperties", {})
                packages = str(properties_of_build.get("ParentPackages", ""))
                inside = Path(packages.replace(".", "/")) if packages else Path()
                properties["CodeUri"] = stored(zipped(folder, inside), ".zip")
        elif resource["Type"] == "AWS::Serverless::StateMachine":
            definition = properties.get("DefinitionUri")
            if isinstance(definition, str) and not definition.startswith("s3://"):
                path = root / definition
                properties["DefinitionUri"] = stored(path.read_bytes(), path.suffix)
    body["Metadata"] = {
        **body.get("Metadata", {}),
        "Deployed": {
            "Hash": hashlib.sha256(
                json.dumps([body, sorted(parameters.items())], default=str).encode()
            ).hexdigest()
        },
    }
    return body, objects


def source_files(folder: Path) -> Iterator[Path]:
    """The files of a source folder in a fixed order, without the caches of Python."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not LEFT_OUT & set(path.parts) and path.suffix != ".pyc":
            yield path


def zipped(folder: Path, inside: Path) -> bytes:
    """A zip of `folder` under the path `inside`; the same files give the same bytes."""
    if not folder.is_dir():
        raise DeployError(f"the template names the folder {folder}, which is not there")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in source_files(folder):
            entry = zipfile.ZipInfo(str(inside / path.relative_to(folder)), EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _describe(client: Any, stack: str) -> dict[str, Any] | None:
    try:
        description: dict[str, Any] = client.describe_stacks(StackName=stack)["Stacks"][0]
    except botocore.exceptions.ClientError as problem:
        # CloudFormation answers a ValidationError "Stack with id X does not exist", here as on AWS.
        if "does not exist" not in problem.response["Error"].get("Message", ""):
            raise DeployError(f"stack {stack}: {problem}") from problem
        return None
    return None if description["StackStatus"] == "DELETE_COMPLETE" else description


def _same(client: Any, stack: str, description: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """True if the stack was deployed from exactly this template, with these parameters."""
    if description["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        return False
    deployed = client.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    if isinstance(deployed, str):
        deployed = parse(deployed)
    return bool(deployed.get("Metadata", {}).get("Deployed") == body["Metadata"]["Deployed"])


def _upload(cloud: Cloud, objects: Mapping[str, bytes]) -> None:
    client = cloud.client("s3")
    try:
        client.head_bucket(Bucket=BUCKET)
    except botocore.exceptions.ClientError:
        client.create_bucket(Bucket=BUCKET)
    for key, content in objects.items():
        client.put_object(Bucket=BUCKET, Key=key, Body=content)


def _apply(
    cloud: Cloud,
    client: Any,
    stack: str,
    description: Mapping[str, Any] | None,
    body: Mapping[str, Any],
    parameters: Mapping[str, str],
) -> None:
    """Create or update, and wait for the end."""
    text = json.dumps(body, default=str)
    key = f"template-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=text.encode())
    request = {
        "StackName": stack,
        "TemplateURL": f"{cloud.endpoint_url}/{BUCKET}/{key}",
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        "Capabilities": CAPABILITIES,
    }
    try:
        answer = client.update_stack(**request) if description else client.create_stack(**request)
    except botocore.exceptions.ClientError as problem:
        if "No updates are to be performed" in str(problem):
            return
        again = description is None and problem.response["Error"]["Code"] == "AlreadyExistsException"
        if not again:
            raise DeployError(f"stack {stack}: {problem.response['Error']['Message']}") from problem
        answer = {"StackId": stack}  # the answer to a first request was lost, and it was made again
    status = _wait(client, answer["StackId"])
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        pages = client.get_paginator("describe_stack_events").paginate(StackName=answer["StackId"])
        failed = [
            f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', '')}"
            for page in pages
            for event in page["StackEvents"]
            if event["ResourceStatus"].endswith("FAILED")
        ]
        raise DeployError(f"stack {stack} ended in {status}: " + "; ".join(failed))


def _wait(client: Any, stack: str, gone: bool = False) -> str:
    """The status a stack comes to rest in; with `gone`, wait until it is deleted."""
    deadline, events = time.monotonic() + DEPLOY_SECONDS, 0
    while True:
        description = _describe(client, stack)
        if description is None:
            if gone:
                return "DELETE_COMPLETE"
            raise DeployError(f"stack {stack} is gone: it was deleted, or the cloud ended before saving it")
        status = str(description["StackStatus"])
        if gone and status == "DELETE_FAILED":
            raise DeployError(f"stack {stack} could not be deleted")
        if not gone and not status.endswith("IN_PROGRESS"):
            return status
        if time.monotonic() > deadline:
            before, events = events, _events(client, stack)
            if events == before:
                raise DeployError(f"stack {stack} did not go on for {DEPLOY_SECONDS:g} s")
            deadline = time.monotonic() + DEPLOY_SECONDS
        time.sleep(POLL_SECONDS)


def _events(client: Any, stack: str) -> int:
    """Count the events of a stack so far."""
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack)
    return sum(len(page["StackEvents"]) for page in pages)
