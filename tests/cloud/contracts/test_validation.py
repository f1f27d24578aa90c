"""Requests are refused in the services' own words, as people have reported them."""

from __future__ import annotations

from typing import Any

import pytest

from protloc.cloud.contracts.front_door import SERVED
from protloc.cloud.contracts.shapes import service_model
from protloc.cloud.contracts.validation import Violation, is_checked, message, violations

ROLE = "arn:aws:iam::123456789012:role/a"


def problems_of(service: str, action: str, **parameters: Any) -> list[Violation]:
    return violations(service_model(service).operation_model(action), parameters)


def refusal(service: str, action: str, **parameters: Any) -> str:
    return message(problems_of(service, action, **parameters))


def test_a_missing_parameter_is_null() -> None:
    # https://github.com/getmoto/moto/blob/master/moto/acm/responses.py has it from AWS
    assert refusal("dynamodb", "DescribeTable") == (
        "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: "
        "Member must not be null"
    )


def test_a_parameter_that_is_null_is_missing() -> None:
    assert [each.kind for each in problems_of("dynamodb", "DescribeTable", TableName=None)] == ["required"]


def test_a_pattern_is_compared_with_the_whole_value() -> None:
    # https://github.com/aws/amazon-sagemaker-examples/issues/2236, with the pattern of today
    variant = {"VariantName": "AllTraffic", "ModelName": "ENTER MODEL NAME"}
    assert refusal(
        "sagemaker", "CreateEndpointConfig", EndpointConfigName="a", ProductionVariants=[variant]
    ) == (
        "1 validation error detected: Value 'ENTER MODEL NAME' at 'productionVariants.1.member.modelName' failed "
        r"to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?"
    )


def test_each_violation_is_reported() -> None:
    # as in https://github.com/hashicorp/terraform-provider-aws/issues/36076
    message = refusal("logs", "CreateLogStream", logGroupName="a b", logStreamName="c:d")
    assert message == (
        r"2 validation errors detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: Member must "
        r"satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+; Value 'c:d' at 'logStreamName' failed to satisfy "
        r"constraint: Member must satisfy regular expression pattern: [^:*]*"
    )


def test_a_text_may_be_too_long_or_too_short() -> None:
    assert refusal("iam", "GetRole", RoleName="a" * 65).endswith(
        "Member must have length less than or equal to 64"
    )
    assert "Member must have length greater than or equal to 20" in refusal(
        "sts", "AssumeRole", RoleArn="arn", RoleSessionName="ab"
    )


def test_a_list_may_be_too_long() -> None:
    # https://github.com/remind101/ssm-env/issues/10
    assert refusal("ssm", "GetParameters", Names=["a"] * 11) == (
        "1 validation error detected: Value '[a, a, a, a, a, a, a, a, a, a, a]' at 'names' failed to satisfy "
        "constraint: Member must have length less than or equal to 10"
    )


def test_what_a_map_holds_may_be_too_long() -> None:
    # https://github.com/Marker-Inc-Korea/RAGchain/issues/446
    request = {"PutRequest": {"Item": {"pk": {"S": "a"}}}}
    assert refusal("dynamodb", "BatchWriteItem", RequestItems={"t": [request] * 26}).endswith(
        "at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length "
        "less than or equal to 25, Member must have length greater than or equal to 1]"
    )


def test_a_key_may_be_wrong_and_a_secret_is_not_told() -> None:
    # https://github.com/trek10inc/serverless-secrets/issues/39
    message = refusal(
        "lambda", "UpdateFunctionConfiguration", FunctionName="f", Environment={"Variables": {"a": "secret"}}
    )
    assert message == (
        "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must "
        "satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
    )


def test_one_of_a_list_may_be_wrong() -> None:
    (wrong,) = problems_of("sqs", "GetQueueAttributes", QueueUrl="q", AttributeNames=["All", "Nonsense"])
    assert (wrong.kind, wrong.member, wrong.culprit) == ("enum", "attributeNames", "Nonsense")
    assert wrong.constraint.startswith(
        "Member must satisfy constraint: [Member must satisfy enum value set: [All, "
    )


def test_a_structure_in_a_list_is_named_by_its_place() -> None:
    tags = [{"Key": "a", "Value": "b"}, {"Key": "a" * 129, "Value": "b"}]
    (wrong,) = problems_of("iam", "TagRole", RoleName="a", Tags=tags)
    assert wrong.member == "tags.2.member.key"


def test_a_number_may_be_too_large_or_too_small() -> None:
    # https://github.com/boto/botocore/issues/3337
    for seconds, limit in ((1_000_000, "less than or equal to 43200"), (1, "greater than or equal to 3600")):
        (wrong,) = problems_of("iam", "UpdateRole", RoleName="a", MaxSessionDuration=seconds)
        assert wrong.constraint == f"Member must have value {limit}"


def test_one_of_several_choices() -> None:
    assert refusal(
        "dynamodb", "PutItem", TableName="tab", Item={"pk": {"S": "a"}}, ReturnConsumedCapacity="ALL"
    ) == (
        "1 validation error detected: Value 'ALL' at 'returnConsumedCapacity' failed to satisfy constraint: "
        "Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
    )


@pytest.mark.parametrize("content", [b"", b"a" * 65_537])
def test_bytes_have_a_length(content: bytes) -> None:
    (wrong,) = problems_of("secretsmanager", "PutSecretValue", SecretId="a", SecretBinary=content)
    assert (wrong.kind, wrong.member) == ("length", "secretBinary")
    assert problems_of("secretsmanager", "PutSecretValue", SecretId="a", SecretBinary=b"a" * 65_536) == []


@pytest.mark.parametrize(
    "problem", [{}, {"TabularJobConfig": {"TargetAttributeName": "a"}, "ImageClassificationJobConfig": {}}]
)
def test_a_union_has_one_member(problem: dict[str, Any]) -> None:
    problems = problems_of(
        "sagemaker",
        "CreateAutoMLJobV2",
        AutoMLJobName="a",
        AutoMLJobInputDataConfig=[{"ChannelType": "training"}],
        OutputDataConfig={"S3OutputPath": "s3://a/b"},
        AutoMLProblemTypeConfig=problem,
        RoleArn=ROLE,
    )
    assert [(each.kind, each.member) for each in problems] == [("union", "autoMLProblemTypeConfig")]


def test_what_holds_itself_is_checked_to_its_depth() -> None:
    nested = {"SubExpressions": [{"SubExpressions": [{"Filters": [{"Name": "n", "Operator": "Same"}]}]}]}
    (wrong,) = problems_of("sagemaker", "Search", Resource="TrainingJob", SearchExpression=nested)
    assert wrong.member == (
        "searchExpression.subExpressions.1.member.subExpressions.1.member.filters.1.member.operator"
    )


@pytest.mark.parametrize("value", [5, ["a"], {"a": "b"}, True])
def test_a_wrong_type_is_reported_and_breaks_nothing(value: Any) -> None:
    (wrong,) = problems_of("iam", "GetRole", RoleName=value)
    assert (wrong.kind, wrong.constraint) == ("type", "Member must be of the type string")


def test_what_the_sdk_fills_in_need_not_be_there() -> None:
    target = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:a", "RoleArn": ROLE}
    schedule = {"Name": "a", "ScheduleExpression": "rate(1 day)", "Target": target}
    assert problems_of("scheduler", "CreateSchedule", **schedule, FlexibleTimeWindow={"Mode": "OFF"}) == []
    assert problems_of("secretsmanager", "PutSecretValue", SecretId="a", SecretString="b") == []


@pytest.mark.parametrize(
    ("service", "action", "parameters"),
    [
        ("sqs", "SendMessage", {"QueueUrl": "q", "MessageBody": "b", "DelaySeconds": 901}),
        ("sqs", "ReceiveMessage", {"QueueUrl": "q", "MaxNumberOfMessages": 11}),
        ("sqs", "ReceiveMessage", {"QueueUrl": "q", "WaitTimeSeconds": 21}),
        (
            "sqs",
            "ChangeMessageVisibility",
            {"QueueUrl": "q", "ReceiptHandle": "h", "VisibilityTimeout": 43_201},
        ),
        ("lambda", "UpdateFunctionConfiguration", {"FunctionName": "f", "Timeout": 901}),
        ("sns", "Publish", {"TopicArn": "t", "Message": "m", "Subject": "two\nlines"}),
        ("sns", "Publish", {"TopicArn": "t", "Message": "m", "Subject": "s" * 100}),
    ],
)
def test_documented_limits_hold_that_no_model_has(
    service: str, action: str, parameters: dict[str, Any]
) -> None:
    assert len(problems_of(service, action, **parameters)) == 1


def test_items_of_a_table_are_not_looked_at() -> None:
    shape = service_model("dynamodb").operation_model("PutItem").input_shape
    assert shape is not None
    assert is_checked("dynamodb", shape)
    assert not is_checked("dynamodb", shape.members["Item"])


@pytest.mark.parametrize("service", sorted({name for names in SERVED.values() for name in names}))
def test_every_operation_can_be_checked(service: str) -> None:
    model = service_model(service)
    for name in model.operation_names:
        operation = model.operation_model(name)
        required = operation.input_shape.required_members if operation.input_shape else []
        tokens = operation.idempotent_members
        missing = [each.member for each in violations(operation, {}) if each.kind == "required"]
        assert missing == [each[:1].lower() + each[1:] for each in required if each not in tokens]
