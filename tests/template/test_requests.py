"""The requests of the state machine, against botocore's models of the services that would get them."""

import re
from typing import Any

import boto3
import pytest
from botocore.validate import ParamValidator

from tests.template.test_template import MACHINE, SOURCE

SERVICES = {"applicationautoscaling": "application-autoscaling"}
SUBSTITUTED = {
    "ModelRole": "arn:aws:iam::123456789012:role/model",
    "TrainingInstanceType": SOURCE["Parameters"]["TrainingInstanceType"]["Default"],
}
TASKS = {name: state for name, state in MACHINE["States"].items() if state["Type"] == "Task"}


def parts(resource: str) -> tuple[str, str]:
    """Service and operation of a task's resource."""
    call = resource.split(":::", 1)[1].removeprefix("aws-sdk:").removesuffix(".sync")
    service, operation = call.split(":")
    return SERVICES.get(service, service), operation


def filled(value: Any, shape: Any) -> Any:
    """The arguments with every expression replaced by a value of the kind the service expects there."""
    if isinstance(value, dict):
        members = getattr(shape, "members", {})
        inner = getattr(shape, "value", None)
        return {key: filled(each, members.get(key, inner)) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, getattr(shape, "member", None)) for each in value]
    if isinstance(value, str) and value.startswith("{%"):
        kind = getattr(shape, "type_name", "string")
        least = int(getattr(shape, "metadata", {}).get("min", 1))
        return {"integer": least, "long": least, "map": {"epochs": "1"}}.get(kind, "x" * 20)
    if isinstance(value, str) and (found := re.fullmatch(r"\$\{(\w+)\}", value)):
        return SUBSTITUTED.get(found[1], "x" * 20)
    return value


@pytest.mark.parametrize("name", TASKS)
def test_a_tasks_arguments_are_what_the_service_takes(name: str) -> None:
    service, operation = parts(TASKS[name]["Resource"])
    if service == "lambda":
        assert set(TASKS[name]["Arguments"]) == {"FunctionName", "Payload"}
        return
    client = boto3.client(service, region_name="us-east-1")
    model = client.meta.service_model.operation_model(operation[0].upper() + operation[1:])
    arguments = filled(TASKS[name]["Arguments"], model.input_shape)
    assert ParamValidator().validate(arguments, model.input_shape).generate_report() == ""
    enums = list(wrong_choices(arguments, model.input_shape))
    assert enums == []


def wrong_choices(value: Any, shape: Any) -> Any:
    """Values that a service's model lists the choices for, and that are none of them."""
    if isinstance(value, dict) and shape.type_name == "structure":
        for key, each in value.items():
            yield from wrong_choices(each, shape.members[key])
    elif isinstance(value, list):
        for each in value:
            yield from wrong_choices(each, shape.member)
    elif isinstance(value, str) and getattr(shape, "enum", None) and value not in shape.enum:
        yield value
