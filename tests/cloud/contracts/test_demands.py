"""A caller that lacks a permission that AWS asks for besides that of the call is refused, over HTTP and in a state machine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from protloc.cloud.contracts.demands import DEMANDS, demanded
from tests.cloud.conftest import Stack
from tests.cloud.contracts.test_integrations import Machines, machines, task
from tests.cloud.sagemaker.models import artifact
from tests.cloud.sagemaker.test_sagemaker import IMAGE, host, put

__all__ = ["machines"]  # a fixture

ROWS = [(row.calls[0], action) for row in DEMANDS for action in row.actions]
OVER_HTTP = [
    (call, action)
    for row in DEMANDS
    for call in row.calls
    for action in row.actions
    if call != "sagemaker:InvokeEndpoint" and ".sync" not in call
]
DIMENSION = "sagemaker:inference-component:DesiredCopyCount"


@pytest.fixture(scope="module")
def component(stack: Stack) -> str:
    """A model version that is on the endpoint and keeps no copy."""
    return host(stack, put(stack, "models/lent/model.tar.gz", artifact()), copies=0)


@pytest.fixture
def role(stack: Stack) -> Iterator[str]:
    name = f"r-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    iam = stack.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    yield name
    iam.delete_role_policy(RoleName=name, PolicyName="may")
    iam.delete_role(RoleName=name)


def arguments(stack: Stack, component: str, call: str) -> dict[str, Any]:
    """Arguments of the call to which every row applies."""
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"inference-component/{component}",
        "ScalableDimension": DIMENSION,
    }
    steps: dict[str, Any] = {
        "AdjustmentType": "ChangeInCapacity",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
    }
    policy = {"PolicyName": "wake-up", "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": steps}
    values: dict[str, dict[str, Any]] = {
        "RegisterScalableTarget": {**target, "MinCapacity": 0, "MaxCapacity": 1},
        "PutScalingPolicy": {**target, **policy},
        "DeleteScalingPolicy": {**target, "PolicyName": "wake-up"},
        "DeregisterScalableTarget": target,
        "createTrainingJob.sync": {"TrainingJobName": "job-1", "RoleArn": stack.outputs["HostRole"]},
        "CreateModelPackage": {
            "ModelPackageGroupName": stack.outputs["Packages"],
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": IMAGE,
                        "ModelDataUrl": f"s3://{stack.outputs['Bucket']}/models/lent/model.tar.gz",
                    }
                ],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        },
    }
    return values[call.partition(":")[2]]


def all_but(action: str | None) -> dict[str, Any]:
    return {"Effect": "Allow", "Resource": "*", "NotAction" if action else "Action": action or "*"}


def client_of(stack: Stack, role: str, service: str, statement: dict[str, Any]) -> Any:
    """A client that acts as a role with this one statement."""
    stack.client("iam").put_role_policy(
        RoleName=role, PolicyName="may", PolicyDocument=json.dumps({"Statement": [statement]})
    )
    arn = stack.client("iam").get_role(RoleName=role)["Role"]["Arn"]
    session = stack.client("sts").assume_role(RoleArn=arn, RoleSessionName="own")["Credentials"]
    return boto3.client(
        service,
        endpoint_url=stack.cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )


def integration(call: str) -> str:
    service, _, action = call.partition(":")
    if action[0].islower():  # it is one already
        return call
    return f"aws-sdk:{service.replace('-', '')}:{action[0].lower()}{action[1:]}"


def expected_error(call: str) -> str:
    return "ValidationException" if call.startswith("application-autoscaling:") else "AccessDeniedException"


@pytest.mark.parametrize(("call", "action"), [row for row in ROWS if row[0] != "sagemaker:InvokeEndpoint"])
def test_a_state_machine_whose_role_lacks_a_row_is_refused(
    machines: Machines, component: str, call: str, action: str
) -> None:
    name = task(integration(call), arguments(machines.stack, component, call))
    machine = machines.make({"Call": name}, {})
    [(_, role)] = machines._made
    document = json.dumps({"Statement": [all_but(action)]})
    machines.stack.client("iam").put_role_policy(RoleName=role, PolicyName="may", PolicyDocument=document)
    done = machines.end(machines.start(machine))
    assert done["status"] == "FAILED", done
    assert done["error"].endswith(f".{expected_error(call)}") and action in done["cause"], done


@pytest.mark.parametrize(("call", "action"), OVER_HTTP)
def test_a_caller_whose_role_lacks_a_row_is_refused(
    stack: Stack, component: str, role: str, call: str, action: str
) -> None:
    service, _, name = call.partition(":")
    method = "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")
    with pytest.raises(ClientError) as refused:
        getattr(client_of(stack, role, service, all_but(action)), method)(**arguments(stack, component, call))
    error = refused.value.response["Error"]
    assert error["Code"] == expected_error(call) and action in error["Message"], error


def test_a_caller_with_every_row_scales_and_registers(stack: Stack, component: str, role: str) -> None:
    scaling = client_of(stack, role, "application-autoscaling", all_but(None))
    for name in (
        "RegisterScalableTarget",
        "PutScalingPolicy",
        "DeleteScalingPolicy",
        "DeregisterScalableTarget",
    ):
        method = "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")
        getattr(scaling, method)(**arguments(stack, component, f"application-autoscaling:{name}"))
    registry = client_of(stack, role, "sagemaker", all_but(None))
    package = registry.create_model_package(**arguments(stack, component, "sagemaker:CreateModelPackage"))
    registry.delete_model_package(ModelPackageName=package["ModelPackageArn"])


def test_a_component_is_invoked_by_a_caller_with_the_permission(
    stack: Stack, component: str, role: str
) -> None:
    """The endpoint alone is not enough."""
    endpoint = stack.outputs["Endpoint"]
    prefix = "arn:aws:sagemaker:us-east-1:000000000000"
    statement = {
        "Effect": "Allow",
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": [f"{prefix}:endpoint/{endpoint}"],
    }
    request = {"EndpointName": endpoint, "InferenceComponentName": component, "Body": b"{}"}
    with pytest.raises(ClientError) as refused:
        client_of(stack, role, "sagemaker-runtime", statement).invoke_endpoint(**request)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert f"inference-component/{component}" in refused.value.response["Error"]["Message"]
    statement["Resource"] = [f"{prefix}:endpoint/{endpoint}", f"{prefix}:inference-component/{component}"]
    with pytest.raises(ClientError) as refused:
        client_of(stack, role, "sagemaker-runtime", statement).invoke_endpoint(**request)
    assert "no capacity" in refused.value.response["Error"]["Message"]


def test_a_row_is_asked_once_for_every_container() -> None:
    containers = [
        {
            "Image": f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{name}:tag",
            "ModelDataUrl": f"s3://b/{name}/m",
        }
        for name in ("one", "team/two")
    ]
    demands = demanded(
        "sagemaker:CreateModelPackage", {"InferenceSpecification": {"Containers": containers}}, "r", "1"
    )
    assert {each.resource for each in demands} == {
        "arn:aws:s3:::b/one/m",
        "arn:aws:s3:::b/team/two/m",
        "arn:aws:ecr:eu-west-1:123456789012:repository/one",
        "arn:aws:ecr:eu-west-1:123456789012:repository/team/two",
    }


def test_a_row_whose_names_a_call_lacks_is_not_asked() -> None:
    assert demanded("sagemaker:CreateModelPackage", {"ModelPackageGroupName": "g"}, "r", "1") == []
    assert demanded("sagemaker:InvokeEndpoint", {}, "r", "1") == []
