"""The permissions a task asks of its role, against AWS's documentation of the integration."""

from __future__ import annotations

from typing import Any

import pytest

from protloc.cloud.contracts.permissions import Permission, needed

ARN = "arn:aws:{}:us-east-1:1:{}"


def asked(resource: str, **arguments: Any) -> list[tuple[str, str]]:
    return [(p.action, p.resource) for p in needed(resource, arguments, "us-east-1", "1")]


@pytest.mark.parametrize(
    ("resource", "arguments", "expected"),
    [
        (
            "arn:aws:states:::lambda:invoke",
            {"FunctionName": "smoke"},
            [("lambda:InvokeFunction", ARN.format("lambda", "function:smoke"))],
        ),
        (
            "arn:aws:lambda:us-east-1:1:function:f",
            {},
            [("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:1:function:f")],
        ),
        (
            "arn:aws:states:::dynamodb:updateItem",
            {"TableName": "t"},
            [("dynamodb:UpdateItem", ARN.format("dynamodb", "table/t"))],
        ),
        (
            "arn:aws:states:::aws-sdk:dynamodb:transactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "a"}}, {"ConditionCheck": {"TableName": "b"}}]},
            [
                ("dynamodb:PutItem", ARN.format("dynamodb", "table/a")),
                ("dynamodb:ConditionCheckItem", ARN.format("dynamodb", "table/b")),
            ],
        ),
        (
            "arn:aws:states:::aws-sdk:s3:headObject",
            {"Bucket": "b", "Key": "k"},
            [("s3:GetObject", "arn:aws:s3:::b/k")],
        ),
        (
            "arn:aws:states:::aws-sdk:sqs:sendMessageBatch",
            {"QueueUrl": "http://127.0.0.1:1/1/q"},
            [("sqs:SendMessage", ARN.format("sqs", "q"))],
        ),
        (
            "arn:aws:states:::aws-sdk:applicationautoscaling:listTagsForResource",
            {"ResourceId": "inference-component/c"},
            [
                (
                    "application-autoscaling:ListTagsForResource",
                    ARN.format("application-autoscaling", "scalable-target/*"),
                )
            ],
        ),
        (
            "arn:aws:states:::aws-sdk:applicationautoscaling:describeScalableTargets",
            {"ServiceNamespace": "sagemaker"},
            [("application-autoscaling:DescribeScalableTargets", "*")],
        ),
        (
            "arn:aws:states:::aws-sdk:sagemaker:describeInferenceComponent",
            {"InferenceComponentName": "c"},
            [("sagemaker:DescribeInferenceComponent", ARN.format("sagemaker", "inference-component/c"))],
        ),
        (
            "arn:aws:states:::aws-sdk:sagemaker:createModelPackage",
            {"ModelPackageGroupName": "g"},
            [
                ("sagemaker:CreateModelPackage", ARN.format("sagemaker", "model-package-group/g")),
                ("sagemaker:CreateModelPackage", ARN.format("sagemaker", "model-package/g/*")),
            ],
        ),
        (
            "arn:aws:states:::aws-sdk:sagemaker:updateModelPackage",
            {"ModelPackageArn": ARN.format("sagemaker", "model-package/g/1")},
            [("sagemaker:UpdateModelPackage", ARN.format("sagemaker", "model-package/g/1"))],
        ),
        (
            "arn:aws:states:::aws-sdk:sagemaker:deleteModelPackage",
            {"ModelPackageName": ARN.format("sagemaker", "model-package/g/1")},
            [("sagemaker:DeleteModelPackage", ARN.format("sagemaker", "model-package/g/1"))],
        ),
    ],
)
def test_a_task_needs_what_aws_documents(
    resource: str, arguments: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert asked(resource, **arguments) == expected


def test_a_role_handed_to_sagemaker_must_be_passed_to_it() -> None:
    permissions = needed(
        "arn:aws:states:::sagemaker:createModel",
        {"ModelName": "m", "ExecutionRoleArn": "arn:aws:iam::1:role/r"},
        "us-east-1",
        "1",
    )
    context = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    assert Permission("iam:PassRole", "arn:aws:iam::1:role/r", context) in permissions


def test_waiting_for_a_job_needs_its_events_rule() -> None:
    actions = {
        action
        for action, _ in asked("arn:aws:states:::sagemaker:createTrainingJob.sync", TrainingJobName="j")
    }
    assert {"sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob", "events:PutRule"} <= actions
