"""The embedded cloud reads from a request the parameters that botocore writes into it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.model import OperationModel
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from protloc.cloud.contracts.front_door import SERVED
from protloc.cloud.contracts.requests import UnreadableError, Wire, read
from protloc.cloud.contracts.shapes import service_model
from tests.cloud.contracts.parameters import parameters, wire

# The operations that the functions, the command line, the state machine, the SAM CLI and the tests call.
USED = {
    "apigateway": "GetRestApis GetStages",
    "application-autoscaling": "DeleteScalingPolicy DeregisterScalableTarget DescribeScalableTargets "
    "DescribeScalingPolicies PutScalingPolicy RegisterScalableTarget",
    "cloudformation": "CreateChangeSet CreateStack DeleteStack DescribeChangeSet DescribeStackEvents "
    "DescribeStackResources DescribeStacks ExecuteChangeSet GetTemplateSummary ListStackResources ListStacks "
    "UpdateStack ValidateTemplate",
    "cloudwatch": "DeleteAlarms DescribeAlarms PutMetricAlarm PutMetricData",
    "dynamodb": "BatchGetItem BatchWriteItem CreateTable DeleteItem DescribeTable GetItem PutItem Query Scan "
    "TransactWriteItems UpdateItem",
    "dynamodbstreams": "DescribeStream GetRecords GetShardIterator ListStreams",
    "events": "DescribeRule PutEvents PutRule PutTargets",
    "iam": "CreateRole GetRole GetRolePolicy ListRolePolicies PutRolePolicy SimulatePrincipalPolicy TagRole",
    "lambda": "CreateEventSourceMapping CreateFunction GetFunction GetFunctionConfiguration Invoke "
    "ListEventSourceMappings ListFunctions UpdateEventSourceMapping UpdateFunctionCode UpdateFunctionConfiguration",
    "logs": "CreateLogGroup CreateLogStream DescribeLogGroups FilterLogEvents PutLogEvents PutRetentionPolicy",
    "s3": "AbortMultipartUpload CompleteMultipartUpload CopyObject CreateBucket CreateMultipartUpload DeleteBucket "
    "DeleteObject DeleteObjects GetBucketVersioning GetObject HeadBucket HeadObject ListBuckets "
    "ListMultipartUploads ListObjectVersions ListObjectsV2 ListParts PutBucketEncryption "
    "PutBucketLifecycleConfiguration PutBucketNotificationConfiguration PutBucketPolicy PutBucketTagging "
    "PutBucketVersioning PutObject PutObjectTagging UploadPart UploadPartCopy",
    "sagemaker": "CreateEndpoint CreateEndpointConfig CreateInferenceComponent CreateModel CreateModelPackage "
    "CreateModelPackageGroup CreateTrainingJob DeleteEndpoint DeleteInferenceComponent DeleteModel "
    "DeleteModelPackage DescribeEndpoint DescribeInferenceComponent DescribeModelPackageGroup DescribeTrainingJob "
    "ListInferenceComponents ListModelPackages ListTags ListTrainingJobs StopTrainingJob UpdateEndpoint "
    "UpdateModelPackage",
    "sagemaker-runtime": "InvokeEndpoint",
    "scheduler": "CreateSchedule DeleteSchedule GetSchedule ListSchedules UpdateSchedule",
    "secretsmanager": "CreateSecret GetSecretValue PutSecretValue",
    "sns": "CreateTopic Publish PublishBatch SetTopicAttributes Subscribe",
    "sqs": "ChangeMessageVisibility CreateQueue DeleteMessage DeleteMessageBatch GetQueueAttributes GetQueueUrl "
    "ListQueues PurgeQueue ReceiveMessage SendMessage SendMessageBatch SetQueueAttributes",
    "stepfunctions": "CreateStateMachine DeleteStateMachine DescribeExecution DescribeStateMachine "
    "GetExecutionHistory ListExecutions ListStateMachines StartExecution StopExecution",
    "sts": "AssumeRole GetCallerIdentity",
}


def protocols(operation: OperationModel) -> list[str]:
    metadata = operation.service_model.metadata
    return list(metadata.get("protocols") or [metadata["protocol"]])


def test_every_service_that_is_checked_is_read_here() -> None:
    assert set(USED) == {name for names in SERVED.values() for name in names}


@pytest.mark.parametrize(
    ("service", "name"), [(service, name) for service, names in USED.items() for name in names.split()]
)
@settings(max_examples=5, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_was_written_is_read(service: str, name: str, data: st.DataObject) -> None:
    operation = service_model(service).operation_model(name)
    written = data.draw(parameters(operation))
    (models,) = (each for each in SERVED.values() if service in each)
    for protocol in protocols(operation):
        call = read([service_model(each) for each in models], wire(operation, protocol, written))
        assert call is not None
        assert (call.operation.service_model.service_name, call.operation.name) == (service, name)
        assert (call.protocol, call.parameters) == (protocol.replace("smithy-rpc-v2-cbor", "cbor"), written)


def test_what_is_not_wanted_stays_as_it_came() -> None:
    operation = service_model("dynamodb").operation_model("PutItem")
    sent = wire(operation, "json", {"TableName": "t", "Item": {"pk": {"B": b"a"}}})
    for wanted, value in ((True, b"a"), (False, "YQ==")):

        def decodes(_service: str, shape: Any, wanted: bool = wanted) -> bool:
            return shape.name == "PutItemInput" or wanted

        call = read([service_model("dynamodb")], sent, decodes)
        assert call is not None
        assert call.parameters["Item"] == {"pk": {"B": value}}


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff", b'"a"'])
def test_a_body_that_is_no_object_cannot_be_read(body: bytes) -> None:
    headers = {"x-amz-target": "DynamoDB_20120810.GetItem"}
    with pytest.raises(UnreadableError):
        read([service_model("dynamodb")], Wire("POST", "/", {}, headers, body))


@pytest.mark.parametrize(
    ("service", "method", "path", "headers", "body"),
    [
        ("dynamodb", "POST", "/", {"x-amz-target": "DynamoDB_20120810.GetThing"}, b"{}"),
        ("dynamodb", "POST", "/", {"x-amz-target": "AmazonSQS.SendMessage"}, b"{}"),
        ("sns", "POST", "/", {"content-type": "application/x-www-form-urlencoded"}, b"Action=Shout"),
        ("lambda", "GET", "/2015-03-31/functions/a/thoughts", {}, b""),
        ("sqs", "GET", "/000000000000/queue", {}, b""),
    ],
)
def test_a_call_that_no_model_knows_is_none(
    service: str, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    assert read([service_model(service)], Wire(method, path, {}, headers, body)) is None


def test_a_form_that_is_crooked_breaks_nothing() -> None:
    body = b"Action=PutRolePolicy&RoleName.a=1&RoleName=b&PolicyName&Tags.member.x.Key=a&Tags.member=&.=&..="
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    call = read([service_model("iam")], Wire("POST", "/", {}, headers, body))
    assert call is not None
    assert call.operation.name == "PutRolePolicy"
