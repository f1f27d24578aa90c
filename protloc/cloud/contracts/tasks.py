"""A state machine's task as the call it makes: Step Functions names members as the Java SDK does.

Pure: resource ARN and arguments of a task in; operation and parameters, or their fault, out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import botocore.validate
from botocore.exceptions import UnknownServiceError
from botocore.model import ListShape, MapShape, OperationModel, OperationNotFoundError, Shape, StructureShape

from protloc.cloud.contracts import front_door, validation
from protloc.cloud.contracts.shapes import service_model

# The Java SDK's name of a service → botocore's.
SERVICES = {
    "applicationautoscaling": "application-autoscaling",
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "sagemakerruntime": "sagemaker-runtime",
    "sfn": "stepfunctions",
    "states": "stepfunctions",
}
# Members that the Java SDK names otherwise than the service: https://github.com/boto/boto3/issues/4253
RENAMED = {"AttributeValue": {"nul": "NULL"}}
# Members that an optimized integration takes as JSON and the service as text:
# https://docs.aws.amazon.com/step-functions/latest/dg/integrate-optimized.html
AS_TEXT = {
    ("lambda", "Invoke"): "Payload",
    ("sns", "Publish"): "Message",
    ("sqs", "SendMessage"): "MessageBody",
}


class Task(NamedTuple):
    """The call that a task makes."""

    operation: OperationModel
    parameters: dict[str, Any]


class Refused(NamedTuple):
    """The failure of a task: `States.Runtime` where no such call can be made, else the service's error."""

    error: str
    cause: str


def task(resource: str, arguments: Mapping[str, Any]) -> Task | None:
    """The call of a task, None for one that calls no service's API."""
    if ":::" not in resource:
        return None
    call = resource.split(":::", 1)[1].split(".")[0]
    service, _, name = call.removeprefix("aws-sdk:").partition(":")
    try:
        model = service_model(SERVICES.get(service, service))
        operation = model.operation_model(name[:1].upper() + name[1:])
    except (UnknownServiceError, OperationNotFoundError):
        return None
    request = dict(arguments)
    text = "" if call.startswith("aws-sdk:") else AS_TEXT.get((service, operation.name), "")
    if text in request and not isinstance(request[text], str):
        request[text] = json.dumps(request[text])
    return Task(operation, renamed(request, operation.input_shape))


def refused(resource: str, arguments: Mapping[str, Any], prefix: str) -> Refused | None:
    """The error of a task whose arguments the service would not take; `prefix` is the service's in errors."""
    made = task(resource, arguments)
    if made is None or made.operation.input_shape is None:
        return None
    # A value of the wrong type or an unknown name is an error of the machine to Step Functions itself.
    violations = [
        each for each in validation.violations(made.operation, made.parameters) if each.kind != "type"
    ]
    if violations:
        code, text = front_door.coded(made.operation, violations)
        return Refused(f"{prefix}.{_exception(made.operation, code) or _base(resource, prefix)}", text)
    report = botocore.validate.ParamValidator().validate(made.parameters, made.operation.input_shape)
    return Refused("States.Runtime", report.generate_report()) if report.has_errors() else None


def _exception(operation: OperationModel, code: str) -> str:
    """The Java SDK's name of an error that the operation's model has, else nothing."""
    for shape in operation.error_shapes:
        if code in (shape.name, shape.metadata.get("error", {}).get("code")):
            return f"{shape.name.removesuffix('Exception')}Exception"
    return ""


def _base(resource: str, prefix: str) -> str:
    """The name of an error that the model has not: the optimized integrations use the older SDK."""
    if "aws-sdk:" in resource:
        return f"{prefix}Exception"
    return "AWSLambdaException" if prefix == "Lambda" else f"Amazon{prefix}Exception"


def renamed(value: Any, shape: Shape | None) -> Any:
    """Arguments with the members' names as the model has them; one that it has not keeps its name."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        names = {name.lower(): name for name in shape.members} | RENAMED.get(str(shape.name), {})
        members = {names.get(key.lower(), key): each for key, each in value.items()}
        return {
            key: renamed(each, shape.members[key]) if key in shape.members else each
            for key, each in members.items()
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [renamed(each, shape.member) for each in value]
    if isinstance(shape, MapShape) and isinstance(value, Mapping):
        return {key: renamed(each, shape.value) for key, each in value.items()}
    return value
