"""The CloudFormation types the engine does not know and the template uses, SageMaker and Application Auto
Scaling, and the one that no cloud on one machine can stand for.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from protloc.cloud.contracts import shapes, validation
from protloc.cloud.contracts.tasks import renamed
from protloc.cloud.engine import Engine
from protloc.cloud.sagemaker.records import ServiceError
from protloc.cloud.sagemaker.scaling import IDENTITY, Scaling
from protloc.cloud.sagemaker.service import SageMaker

Created = tuple[str, dict[str, str]]

# The call by which CloudFormation makes a resource of the engine's, where the properties are its parameters.
CALLS = {
    "AWS::CloudWatch::Alarm": ("cloudwatch", "PutMetricAlarm"),
    "AWS::DynamoDB::Table": ("dynamodb", "CreateTable"),
    "AWS::Events::Rule": ("events", "PutRule"),
    "AWS::IAM::Role": ("iam", "CreateRole"),
    "AWS::Lambda::EventSourceMapping": ("lambda", "CreateEventSourceMapping"),
    "AWS::Lambda::Function": ("lambda", "CreateFunction"),
    "AWS::Logs::LogGroup": ("logs", "CreateLogGroup"),
    "AWS::Scheduler::Schedule": ("scheduler", "CreateSchedule"),
    "AWS::StepFunctions::StateMachine": ("stepfunctions", "CreateStateMachine"),
}


# A type that is refused, and what to do instead: the gate lets no web page in, so nobody could sign in.
REFUSED = {
    "AWS::Cognito::IdentityPool": "the embedded cloud has no page for a team (TeamPage), "
    "as no web page may ask it; `protloc open` serves the page to whoever uses this machine"
}


def add_types(engine: Engine, sagemaker: SageMaker, scaling: Scaling) -> None:
    """Register every type with the engine's CloudFormation."""
    for kind, field in (
        ("Model", "ModelName"),
        ("EndpointConfig", "EndpointConfigName"),
        ("Endpoint", "EndpointName"),
        ("ModelPackageGroup", "ModelPackageGroupName"),
    ):
        create, update, delete = _sagemaker_type(sagemaker, kind, field, engine.delete_replaced)
        engine.add_resource_type(f"AWS::SageMaker::{kind}", create, update, delete)
    for kind, action in (("ScalableTarget", "RegisterScalableTarget"), ("ScalingPolicy", "PutScalingPolicy")):
        create, update, delete = _scaling_type(scaling, action)
        engine.add_resource_type(f"AWS::ApplicationAutoScaling::{kind}", create, update, delete)
    for name in CALLS:
        engine.check_resource_type(name, partial(check_properties, name))
    for name in REFUSED:
        engine.check_resource_type(name, partial(refuse, name))


def refuse(kind: str, _properties: dict[str, Any]) -> None:
    """Raise ValueError with what to do instead of making a resource of this kind."""
    raise ValueError(REFUSED[kind])


def check_properties(kind: str, properties: dict[str, Any]) -> None:
    """Raise ValueError where the call that makes a resource would refuse its properties.

    Properties that a template writes in another form than the call, or omits, are left to CloudFormation.
    """
    service, action = CALLS[kind]
    operation = shapes.service_model(service).operation_model(action)
    assert operation.input_shape is not None
    members = renamed(properties, operation.input_shape)
    recognised = {name: value for name, value in members.items() if name in operation.input_shape.members}
    request = shapes.from_template(service, action, recognised)
    violations = [
        each for each in validation.violations(operation, request) if each.kind not in ("required", "type")
    ]
    if violations:
        raise ValueError(validation.message(violations))


def _sagemaker_type(
    sagemaker: SageMaker, kind: str, field: str, delete_replaced: Callable[..., None]
) -> tuple[Callable[..., Created], Callable[..., Created], Callable[..., None]]:
    """Ref gives the ARN, Fn::GetAtt the name. A change of an endpoint's configuration is an update in place,
    of anything else a replacement under a new name.
    """

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Created:
        name = properties.get(field) or f"{logical_id}-{uuid.uuid4().hex[:12]}"
        name = str(name).rsplit("/", 1)[-1]
        request = {**properties, field: name}
        if kind == "Endpoint":
            request["EndpointConfigName"] = str(properties["EndpointConfigName"]).rsplit("/", 1)[-1]
        try:
            answer = sagemaker.from_template(f"Create{kind}", request)
        except ServiceError as refused:
            raise ValueError(f"{refused.code}: {refused}") from refused
        return str(answer[f"{kind}Arn"]), {field: name, f"{kind}Arn": str(answer[f"{kind}Arn"])}

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Created:
        name = physical_id.rsplit("/", 1)[-1]
        if kind == "Endpoint" and old.get(field) == new.get(field):
            config = str(new["EndpointConfigName"]).rsplit("/", 1)[-1]
            sagemaker.call("UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": config})
            return physical_id, {field: name, f"{kind}Arn": physical_id}
        if all(old.get(key) == new.get(key) for key in {*old, *new} - {"Tags"}):
            return physical_id, {field: name, f"{kind}Arn": physical_id}
        if new.get(field) and new.get(field) == old.get(field):
            raise ValueError(f"{kind} {name} has a name of its own and cannot be replaced: rename it")
        replacement = create(kind, new, stack)
        delete_replaced(delete, physical_id, old)
        return replacement

    def delete(physical_id: str, properties: dict[str, Any]) -> None:
        name = physical_id.rsplit("/", 1)[-1]
        if kind == "Endpoint":
            # As the stack goes, so do the components its state machine put on the endpoint.
            hosted = sagemaker.call("ListInferenceComponents", {"EndpointNameEquals": name})[
                "InferenceComponents"
            ]
            for component in hosted:
                sagemaker.remove_now(component["InferenceComponentName"])
        try:
            sagemaker.call(f"Delete{kind}", {field: name})
        except ServiceError as refused:
            if refused.code == "ConflictException":  # a group that still has packages
                raise ValueError(f"{refused.code}: {refused}") from refused
            return  # already gone

    return create, update, delete


def _scaling_type(
    scaling: Scaling, action: str
) -> tuple[Callable[..., Created], Callable[..., Created], Callable[..., None]]:
    def identity(properties: dict[str, Any]) -> dict[str, Any]:
        if "ScalingTargetId" in properties and "ResourceId" not in properties:
            resource, dimension, namespace = str(properties["ScalingTargetId"]).split("|")
            return {"ResourceId": resource, "ScalableDimension": dimension, "ServiceNamespace": namespace}
        return {part: properties[part] for part in IDENTITY}

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Created:
        identifier = identity(properties)
        request = shapes.from_template(
            "application-autoscaling", action, {**properties, **identifier, "ScalingTargetId": None}
        )
        members = {name: value for name, value in request.items() if value is not None}
        if wrong := shapes.problems("application-autoscaling", action, members):
            raise ValueError(wrong)
        scaling.call(action, members)
        target = "|".join(
            (identifier["ResourceId"], identifier["ScalableDimension"], identifier["ServiceNamespace"])
        )
        return (target if action.startswith("Register") else f"{target}|{properties['PolicyName']}"), {}

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Created:
        if identity(old) != identity(new):
            delete(physical_id, old)
        return create("", new, stack)

    def delete(physical_id: str, properties: dict[str, Any]) -> None:
        undo = "DeregisterScalableTarget" if action.startswith("Register") else "DeleteScalingPolicy"
        try:
            scaling.call(undo, {**properties, **identity(properties)})
        except LookupError:
            return  # already gone

    return create, update, delete
