"""A task of a state machine, as the call that Step Functions makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from protloc.cloud.contracts.tasks import refused, task

SDK = "arn:aws:states:::aws-sdk:"
OPTIMIZED = "arn:aws:states:::"


@pytest.mark.parametrize(
    ("resource", "service", "operation"),
    [
        (f"{SDK}sagemaker:createModelPackage", "sagemaker", "CreateModelPackage"),
        (f"{SDK}applicationautoscaling:putScalingPolicy", "application-autoscaling", "PutScalingPolicy"),
        (f"{SDK}sfn:startExecution", "stepfunctions", "StartExecution"),
        (f"{SDK}cloudwatchlogs:createLogGroup", "logs", "CreateLogGroup"),
        (f"{OPTIMIZED}sagemaker:createTrainingJob.sync", "sagemaker", "CreateTrainingJob"),
        (f"{OPTIMIZED}states:startExecution.sync:2", "stepfunctions", "StartExecution"),
        (f"{OPTIMIZED}sqs:sendMessage.waitForTaskToken", "sqs", "SendMessage"),
    ],
)
def test_a_resource_names_an_operation(resource: str, service: str, operation: str) -> None:
    made = task(resource, {})
    assert made is not None
    assert (made.operation.service_model.service_name, made.operation.name) == (service, operation)


@pytest.mark.parametrize(
    "resource",
    [
        "arn:aws:lambda:us-east-1:123456789012:function:a",
        "arn:aws:states:us-east-1:123456789012:activity:a",
        f"{SDK}sagemaker:createModelParcel",
        f"{SDK}nosuchservice:createModel",
    ],
)
def test_another_resource_is_no_call(resource: str) -> None:
    assert task(resource, {}) is None
    assert refused(resource, {}, "X") is None


def test_members_may_be_named_as_the_java_sdk_names_them() -> None:
    made = task(f"{SDK}sfn:startExecution", {"StateMachineArn": "arn:aws:states:a", "Input": "{}"})
    assert made is not None
    assert made.parameters == {"stateMachineArn": "arn:aws:states:a", "input": "{}"}
    values = {"a": {"Bool": True}, "b": {"Nul": True}, "c": {"M": {"bool": {"S": "x"}}}}
    made = task(f"{SDK}dynamodb:putItem", {"TableName": "table", "Item": values})
    assert made is not None
    assert made.parameters["Item"] == {
        "a": {"BOOL": True},
        "b": {"NULL": True},
        "c": {"M": {"bool": {"S": "x"}}},
    }


@pytest.mark.parametrize(
    ("resource", "arguments"),
    [
        (f"{OPTIMIZED}lambda:invoke", {"FunctionName": "f", "Payload": {"a": 1}}),
        (f"{OPTIMIZED}sns:publish", {"TopicArn": "t", "Message": {"a": 1}}),
        (f"{OPTIMIZED}sqs:sendMessage", {"QueueUrl": "q", "MessageBody": {"a": 1}}),
    ],
)
def test_an_optimized_integration_takes_json_where_the_service_takes_text(
    resource: str, arguments: dict[str, Any]
) -> None:
    assert refused(resource, arguments, "X") is None
    plain = refused(resource.replace(OPTIMIZED, SDK), arguments, "X")
    assert plain is not None
    assert plain.error == "States.Runtime"


@pytest.mark.parametrize(
    ("resource", "arguments", "error"),
    [
        # An error that the model has keeps its name; any other has the base class's of the SDK.
        (f"{SDK}applicationautoscaling:registerScalableTarget", {}, "X.ValidationException"),
        (f"{SDK}sagemaker:createModel", {"ModelName": "a b"}, "X.XException"),
        (f"{OPTIMIZED}sagemaker:createModel", {"ModelName": "a b"}, "X.AmazonXException"),
        (f"{OPTIMIZED}dynamodb:putItem", {"TableName": "table"}, "X.AmazonXException"),
        (f"{OPTIMIZED}sns:publish", {"Message": "m", "Subject": ""}, "X.InvalidParameterException"),
        (f"{SDK}sagemaker:createModel", {"ModelName": "ab", "Nonsense": 1}, "States.Runtime"),
        (
            f"{SDK}sagemaker:createModel",
            {"ModelName": "ab", "EnableNetworkIsolation": "yes"},
            "States.Runtime",
        ),
    ],
)
def test_a_refusal_is_named_as_step_functions_names_it(
    resource: str, arguments: dict[str, Any], error: str
) -> None:
    refusal = refused(resource, arguments, "X")
    assert refusal is not None
    assert refusal.error == error
