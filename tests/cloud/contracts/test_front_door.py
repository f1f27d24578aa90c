"""A request that its service would refuse is refused by the embedded cloud, in the service's words and protocol."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError
from botocore.parsers import RpcV2CBORParser

from protloc.cloud.connection import Cloud
from protloc.cloud.contracts.front_door import refusal
from protloc.cloud.contracts.routes import Wire
from protloc.cloud.contracts.shapes import service_model
from protloc.cloud.sagemaker.resource_types import check_properties
from tests.cloud.contracts.parameters import wire

ROLE = "arn:aws:iam::000000000000:role/a"
FIGURES = {"figures": '{"q10": 0.7}'}


def client(cloud: Cloud, service: str) -> Any:
    """A client that leaves every check to the service."""
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=cloud.keys.access_key,
        aws_secret_access_key=cloud.keys.secret_key,
        config=Config(parameter_validation=False),
    )


# The kind of request → service, call, its parameters, and the code and words of the refusal.
REFUSED: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    "JSON 1.1": (
        "sagemaker", "create_model_package", {"ModelPackageGroupName": "g", "CustomerMetadataProperties": FIGURES},
        "ValidationException", "at 'customerMetadataProperties' failed to satisfy constraint: Map value must satisfy",
    ),
    "JSON 1.0": (
        "dynamodb", "put_item", {"TableName": "tab", "Item": {"pk": {"S": "a"}}, "ReturnValues": "NEW"},
        "ValidationException", "Value 'NEW' at 'returnValues' failed to satisfy constraint: Member must satisfy enum",
    ),
    "nothing where something must be": (
        "dynamodb", "get_item", {"TableName": "tab"},
        "ValidationException", "Value null at 'key' failed to satisfy constraint: Member must not be null",
    ),
    "another type": (
        "dynamodb", "get_item", {"TableName": "tab", "Key": {}, "ReturnConsumedCapacity": 5},
        "SerializationException", "Member must be of the type string",
    ),
    "JSON that answers as a query": (
        "sqs", "get_queue_attributes", {"QueueUrl": "q", "AttributeNames": ["Size"]},
        "InvalidAttributeName", "Unknown Attribute Size.",
    ),
    "a key that is unknown": (
        "sqs", "create_queue", {"QueueName": "q", "Attributes": {"Size": "1"}},
        "InvalidAttributeName", "Unknown Attribute Size.",
    ),
    "a number that is too large": (
        "sqs", "send_message", {"QueueUrl": "q", "MessageBody": "b", "DelaySeconds": 901},
        "InvalidParameterValue", "Value 901 for parameter DelaySeconds is invalid. Reason: ",
    ),
    "a message without a body": (
        "sqs", "send_message", {"QueueUrl": "q"},
        "MissingParameter", "The request must contain the parameter MessageBody.",
    ),
    "query": (
        "iam", "create_role", {"RoleName": "a b", "AssumeRolePolicyDocument": "{}"},
        "ValidationError", r"pattern: [\w+=,.@-]+",
    ),
    "characters that XML cannot hold": (
        "iam", "get_role", {"RoleName": "<a>\x01&"},
        "ValidationError", "Value '<a>?&' at 'roleName'",
    ),
    "a query with another type": (
        "iam", "update_role", {"RoleName": "a", "MaxSessionDuration": "long"},
        "MalformedInput", "Member must be of the type integer",
    ),
    "a query in words of its own": (
        "sns", "publish", {"TopicArn": "t", "Message": "m", "Subject": "two\nlines"},
        "InvalidParameter", "Invalid parameter: Subject Reason: ",
    ),
    "REST with JSON": (
        "lambda", "update_function_configuration", {"FunctionName": "f", "Role": "none", "Timeout": 901},
        "ValidationException", "2 validation errors detected: ",
    ),
    "REST with the name in the path": (
        "scheduler", "create_schedule_group", {"Name": "a b"},
        "ValidationException", "Value 'a b' at 'name'",
    ),
    "REST with a body of bytes": (
        "sagemaker-runtime", "invoke_endpoint", {"EndpointName": "a_b", "Body": b"x"},
        "ValidationError", "Value 'a_b' at 'endpointName'",
    ),
    "REST with XML": (
        "s3", "put_bucket_versioning", {"Bucket": "b", "VersioningConfiguration": {"Status": "On"}},
        "MalformedXML", "did not validate against our published schema",
    ),
    "REST with a header": (
        "s3", "create_bucket", {"Bucket": "bucket", "ACL": "secret"},
        "InvalidArgument", "Value 'secret' at 'aCL'",
    ),
    "a code of its own": (
        "logs", "create_log_group", {"logGroupName": "a b"},
        "InvalidParameterException", r"pattern: [\.\-_/#A-Za-z0-9]+",
    ),
    "alarms": (
        "cloudwatch", "put_metric_alarm", {"AlarmName": "a", "EvaluationPeriods": 1, "ComparisonOperator": "Above"},
        "ValidationError", "Value 'Above' at 'comparisonOperator'",
    ),
    "scaling": (
        "application-autoscaling", "register_scalable_target", {"ServiceNamespace": "house", "ResourceId": "r", "ScalableDimension": "house:x:y"},
        "ValidationException", "Value 'house' at 'serviceNamespace'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("service", "call", "parameters", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_a_bad_request_is_answered_as_aws_answers_it(
    cloud: Cloud, service: str, call: str, parameters: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(client(cloud, service), call)(**parameters)
    assert refused.value.response["Error"]["Code"] == code
    assert message in refused.value.response["Error"]["Message"]
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_modelled_error_can_be_caught_by_its_class(cloud: Cloud) -> None:
    queues = client(cloud, "sqs")
    with pytest.raises(queues.exceptions.InvalidAttributeName):
        queues.get_queue_attributes(QueueUrl="q", AttributeNames=["Size"])
    groups = client(cloud, "logs")
    with pytest.raises(groups.exceptions.InvalidParameterException):
        groups.create_log_group(logGroupName="a b")


def test_a_missing_permission_is_reported_first(cloud: Cloud) -> None:
    stranger = boto3.client(
        "sqs", endpoint_url=cloud.endpoint_url, region_name="us-east-1",
        aws_access_key_id="AKIANOBODYKNOWSTHIS1", aws_secret_access_key="wrong",
    )  # fmt: skip
    with pytest.raises(ClientError) as refused:
        stranger.get_queue_attributes(QueueUrl="q", AttributeNames=["Size"])
    assert refused.value.response["Error"]["Code"] != "InvalidAttributeName"


def test_cbor_is_answered_in_cbor() -> None:
    operation = service_model("cloudwatch").operation_model("DeleteAlarms")
    answer = refusal("monitoring", wire(operation, "smithy-rpc-v2-cbor", {"AlarmNames": ["a"] * 101}))
    assert answer is not None
    status, headers, body = answer
    parser = RpcV2CBORParser()
    read = parser.parse_data_item(parser.get_peekable_stream_from_bytes(body))
    assert (status, headers["smithy-protocol"], read["__type"]) == (400, "rpc-v2-cbor", "ValidationError")
    assert "at 'alarmNames'" in read["message"]


def test_a_storage_class_that_is_none_has_a_code_of_its_own() -> None:
    operation = service_model("s3").operation_model("PutObject")
    answer = refusal("s3", wire(operation, "rest-xml", {"Bucket": "b", "Key": "k", "StorageClass": "COLD"}))
    assert answer is not None
    assert b"<Code>InvalidStorageClass</Code>" in answer[2]


@pytest.mark.parametrize(
    ("service", "sent"),
    [
        ("ec2", Wire("POST", "/", {"Action": ["Nonsense"]}, {}, b"")),
        ("dynamodb", Wire("POST", "/", {}, {"x-amz-target": "DynamoDB_20120810.Nonsense"}, b"{}")),
        ("dynamodb", Wire("POST", "/", {}, {"x-amz-target": "DynamoDB_20120810.GetItem"}, b"no JSON")),
        ("s3", Wire("PUT", "/bucket", {"versioning": [""]}, {}, b"no XML")),
    ],
)
def test_an_unreadable_request_is_left_to_the_service(service: str, sent: Wire) -> None:
    assert refusal(service, sent) is None


def test_a_template_cannot_make_what_the_call_would_refuse() -> None:
    metric = {"MetricName": "m", "Namespace": "n", "Statistic": "Sum", "Period": "60"}
    alarm = {
        **metric,
        "EvaluationPeriods": "1",
        "Threshold": "0",
        "ComparisonOperator": "GreaterThanThreshold",
    }
    check_properties("AWS::CloudWatch::Alarm", alarm)
    with pytest.raises(ValueError, match="at 'treatMissingData'"):
        check_properties("AWS::CloudWatch::Alarm", {**alarm, "TreatMissingData": "ignored"})
    with pytest.raises(ValueError, match="at 'roleName'"):
        check_properties(
            "AWS::IAM::Role", {"RoleName": "r" * 65, "AssumeRolePolicyDocument": {"Statement": []}}
        )
    with pytest.raises(ValueError, match="at 'name'"):
        check_properties("AWS::StepFunctions::StateMachine", {"StateMachineName": "a", "Name": "n" * 81})


def test_a_stack_with_such_a_resource_is_not_made(cloud: Cloud) -> None:
    kinds = {
        "Names": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "r" * 65, "AssumeRolePolicyDocument": {}}},
        "Scaling": {
            "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
            "Properties": {
                "ServiceNamespace": "house", "ScalableDimension": "a", "ResourceId": "r", "MinCapacity": 0, "MaxCapacity": 1,
            },
        },
        "Hosting": {
            "Type": "AWS::SageMaker::EndpointConfig",
            "Properties": {"ExecutionRoleArn": ROLE, "ProductionVariants": [{"VariantName": "a b"}]},
        },
    }  # fmt: skip
    stacks = client(cloud, "cloudformation")
    for name, resource in kinds.items():
        stacks.create_stack(
            StackName=f"bad-{name}",
            TemplateBody=json.dumps({"Resources": {name: resource}}),
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        with pytest.raises(WaiterError):
            stacks.get_waiter("stack_create_complete").wait(
                StackName=f"bad-{name}", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
            )
        events = stacks.describe_stack_events(StackName=f"bad-{name}")["StackEvents"]
        reasons = [each.get("ResourceStatusReason", "") for each in events]
        assert any("validation error" in reason for reason in reasons), reasons
        stacks.delete_stack(StackName=f"bad-{name}")
