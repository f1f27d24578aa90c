"""The stack's services behave as AWS's do where ours rely on it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from protloc.cloud.connection import Cloud
from tests.cloud.conftest import Stack
from tests.waiting import Gate, until


def send(stack: Stack, **body: Any) -> str:
    identity = uuid.uuid4().hex
    client = stack.client("sqs")
    client.send_message(QueueUrl=stack.outputs["Queue"], MessageBody=json.dumps({"id": identity, **body}))
    return identity


def ask(stack: Stack, question: str, **more: Any) -> tuple[Any, str | None]:
    answer = stack.client("lambda").invoke(
        FunctionName=stack.outputs["AnswerFunction"], Payload=json.dumps({"ask": question, **more})
    )
    return json.loads(answer["Payload"].read()), answer.get("FunctionError")


def put_another(stack: Stack) -> None:
    """Put an object whose event comes after those of the objects before it, and wait for that event."""
    key = f"in/{uuid.uuid4().hex}"
    stack.client("s3").put_object(Bucket=stack.outputs["Bucket"], Key=key, Body=b">a\nM")
    until(lambda: [k for k in stack.rows("message") if key in k])


def run_machine(stack: Stack, **execution_input: Any) -> dict[str, Any]:
    client = stack.client("stepfunctions")
    arn = client.start_execution(stateMachineArn=stack.outputs["Machine"], input=json.dumps(execution_input))[
        "executionArn"
    ]
    until(lambda: client.describe_execution(executionArn=arn)["status"] != "RUNNING")
    result: dict[str, Any] = client.describe_execution(executionArn=arn)
    return result


def test_a_new_object_reaches_the_queue_with_its_version(stack: Stack) -> None:
    key = "in/a b+c(1)ü.fasta"
    put = stack.client("s3").put_object(Bucket=stack.outputs["Bucket"], Key=key, Body=b">a\nM")
    records = until(lambda: [json.loads(k) for k in stack.rows("message") if f'"{key}"' in k])
    assert records[0]["version-id"] == put["VersionId"]
    assert records[0]["size"] == 4


def test_a_multipart_upload_answers_with_its_version_and_makes_one_event(stack: Stack) -> None:
    client, bucket, key = stack.client("s3"), stack.outputs["Bucket"], f"in/{uuid.uuid4().hex}"
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number in (1, 2):
        body = b"x" * (5 << 20)
        etag = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)[
            "ETag"
        ]
        parts.append({"PartNumber": number, "ETag": etag})
    done = client.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    records = until(lambda: [json.loads(k) for k in stack.rows("message") if key in k])
    put_another(stack)
    assert len([k for k in stack.rows("message") if key in k]) == 1
    assert records[0]["version-id"] == done["VersionId"]
    tail = client.get_object(Bucket=bucket, Key=key, VersionId=done["VersionId"], Range="bytes=10485750-")
    assert tail["Body"].read() == b"x" * 10


def test_a_range_of_a_version_is_only_that_range(stack: Stack) -> None:
    client, bucket, key = stack.client("s3"), stack.outputs["Bucket"], "models/ranges"
    old = client.put_object(Bucket=bucket, Key=key, Body=b"0123456789")["VersionId"]
    new = client.put_object(Bucket=bucket, Key=key, Body=b"abc")["VersionId"]

    def read(version: str, wanted: str) -> tuple[bytes, str]:
        answer = client.get_object(Bucket=bucket, Key=key, VersionId=version, Range=wanted)
        return answer["Body"].read(), answer["ContentRange"]

    assert read(old, "bytes=2-4") == (b"234", "bytes 2-4/10")
    assert read(old, "bytes=7-") == (b"789", "bytes 7-9/10")
    assert read(new, "bytes=1-99") == (b"bc", "bytes 1-2/3")
    with pytest.raises(ClientError) as refused:
        read(new, "bytes=5-6")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 416


def test_an_object_under_the_excluded_prefix_makes_no_event(stack: Stack) -> None:
    stack.client("s3").put_object(Bucket=stack.outputs["Bucket"], Key="models/quiet", Body=b"x")
    put_another(stack)
    assert not [k for k in stack.rows("message") if "models/quiet" in k]


def test_a_conditional_put_refuses_to_overwrite(stack: Stack) -> None:
    client, bucket = stack.client("s3"), stack.outputs["Bucket"]
    client.put_object(Bucket=bucket, Key="models/once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        client.put_object(Bucket=bucket, Key="models/once", Body=b"2", IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert refused.value.response["Error"]["Code"] == "PreconditionFailed"


def test_a_presigned_address_gives_the_object(stack: Stack) -> None:
    client, bucket = stack.client("s3"), stack.outputs["Bucket"]
    client.put_object(Bucket=bucket, Key="models/signed", Body=b"hello")
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "models/signed"})
    assert urllib.request.urlopen(url).read() == b"hello"


def test_only_the_failed_message_of_a_batch_comes_again(stack: Stack) -> None:
    good, bad = send(stack), send(stack, fail=1)
    rows = until(lambda: (rows := stack.rows("message")) and {good, bad} <= set(rows) and rows)
    assert rows[good]["received"]["S"] == "1"
    assert rows[bad]["received"]["S"] == "2"


def test_a_message_that_always_fails_ends_in_the_dead_letters(stack: Stack) -> None:
    bad = send(stack, fail=99)
    assert until(lambda: dead_letters(stack, bad))[0]["id"] == bad


def test_a_handler_that_ends_its_process_costs_only_its_batch(stack: Stack, tmp_path: Path) -> None:
    crashing = send(stack, crash=str(tmp_path / "crashed"))
    until((tmp_path / "crashed").exists)
    identity = send(stack)
    until(lambda: {identity, crashing} <= set(stack.rows("message")))  # or it would end another test's batch


def test_stream_records_reach_their_function_through_the_filter(stack: Stack) -> None:
    other = uuid.uuid4().hex
    table = stack.client("dynamodb")
    table.put_item(TableName=stack.outputs["Table"], Item={"pk": {"S": "other"}, "sk": {"S": other}})
    identity = send(stack)
    until(lambda: identity in stack.rows("followed"))
    assert other not in stack.rows("followed")


def dead_letters(stack: Stack, part: str) -> list[dict[str, Any]]:
    """Take all dead letters, those of earlier tests too, and return the ones that hold `part`."""
    sqs, queue = stack.client("sqs"), stack.outputs["DeadLetters"]
    bodies = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(body) for body in bodies if part in body]


def test_a_failed_stream_record_is_tried_again_and_the_next_ones_wait_for_it(stack: Stack) -> None:
    first = send(stack, unfollowed=1)
    until(lambda: first in stack.rows("message"))
    second = send(stack)
    until(lambda: {first, second} <= set(stack.rows("followed")))
    assert stack.rows("followed")[first]["tries"]["N"] == "2"


def test_a_stream_record_that_always_fails_goes_to_the_destination_and_lets_the_others_pass(
    stack: Stack,
) -> None:
    bad = send(stack, unfollowed=99)
    until(lambda: bad in stack.rows("message"))
    assert until(lambda: dead_letters(stack, "RetryAttemptsExhausted"))
    good = send(stack)  # not before: a record of the same batch is given up with it
    until(lambda: good in stack.rows("followed"))
    assert bad not in stack.rows("followed")


def test_messages_sent_while_others_are_deleted_are_never_lost(cloud: Cloud) -> None:
    client = cloud.client("sqs")
    queue = client.create_queue(QueueName=f"race-{uuid.uuid4().hex[:6]}")["QueueUrl"]
    bodies: set[str] = set()

    def take() -> int:
        for message in client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            bodies.add(message["Body"])
            client.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return len(bodies)

    with ThreadPoolExecutor(1) as threads:
        taking = threads.submit(until, lambda: take() == 400)
        for start in range(0, 400, 10):
            entries = [{"Id": str(n), "MessageBody": str(start + n)} for n in range(10)]
            client.send_message_batch(QueueUrl=queue, Entries=entries)
    assert taking.result()


def test_a_function_sees_nothing_of_the_hosts_environment(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, _ = ask(stack, "environment")
    variables = json.loads(answer["body"])["environment"]
    assert not {"HOME", "USER", "PYTHONPATH", "AUTH", "STATE_DIR", "VIRTUAL_ENV"} & set(variables)
    assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert variables["TABLE"] == stack.outputs["Table"]


@pytest.mark.parametrize(("question", "kind"), [("error", "LookupError"), ("exit", "Runtime.ExitError")])
def test_a_failing_function_is_reported_as_aws_does(stack: Stack, question: str, kind: str) -> None:
    answer, error = ask(stack, question)
    assert error == "Unhandled"
    assert answer["errorType"] == kind


def test_a_function_whose_time_is_over_is_reported_as_aws_does(stack: Stack) -> None:
    answer = stack.client("lambda").invoke(FunctionName=stack.outputs["HangingFunction"])
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorType"] == "Sandbox.Timedout"


def test_a_call_the_functions_role_does_not_allow_is_denied(stack: Stack) -> None:
    answer, _ = ask(stack, "denied")
    assert "AccessDenied" in json.loads(answer["body"])["denied"]


def test_calls_at_the_same_time_run_in_processes_of_their_own(stack: Stack, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    with ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(ask, stack, "pid", gate=str(gate.path)) for _ in range(3)]
        try:
            until(lambda: len(gate.reached) == 3, lambda: gate.reached)
        finally:
            gate.open()
    assert {json.loads(call.result()[0]["body"])["pid"] for call in calls} == gate.reached


def call_api(stack: Stack, credentials: Credentials | None) -> int:
    url = stack.cloud.api_url(stack.outputs["ApiId"], "v1") + "/ask?ask=hello"
    request = botocore.awsrequest.AWSRequest("GET", url)
    if credentials is not None:
        botocore.auth.SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(request)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(request.headers))) as answer:
            assert json.loads(answer.read())["ask"] == "hello"
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_the_api_refuses_callers_without_the_permission(stack: Stack) -> None:
    assert call_api(stack, None) == 403
    assert call_api(stack, stack.caller()) == 403
    assert call_api(stack, Credentials(*stack.cloud.keys)) == 200


def test_a_wrong_signature_is_refused(stack: Stack) -> None:
    client = stack.client_of_caller("s3", aws_secret_access_key="wrong")
    with pytest.raises(ClientError):
        client.list_buckets()


def test_a_state_machine_written_in_yaml_runs_and_answers_with_its_output(stack: Stack) -> None:
    done = run_machine(stack, do="write")
    assert done["status"] == "SUCCEEDED", done
    assert json.loads(done["output"]) == {"status": 200}
    assert done["name"] in stack.rows("machine")


def test_a_task_the_machines_role_does_not_allow_is_denied(stack: Stack) -> None:
    done = run_machine(stack, do="forbidden")
    assert done["status"] == "FAILED"
    assert done["error"] == "DynamoDB.AccessDeniedException"
    assert "dynamodb:DeleteItem" in done["cause"]


def test_taking_a_permission_from_the_machines_role_stops_it(stack: Stack) -> None:
    client, role = stack.client("iam"), stack.outputs["MachineRole"]
    name = client.list_role_policies(RoleName=role)["PolicyNames"][0]
    document = client.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    less = {
        **document,
        "Statement": [s for s in document["Statement"] if s["Action"] != "lambda:InvokeFunction"],
    }
    client.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(less))
    try:
        done = run_machine(stack, do="write")
        assert done["error"] == "Lambda.AccessDeniedException"
    finally:
        client.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def test_a_machine_passes_no_role_it_may_not_pass(stack: Stack) -> None:
    done = run_machine(stack, do="train", role=stack.outputs["Caller"], hyperparameters={"a": "1"})
    assert done["error"] == "SageMaker.AccessDeniedException"
    assert "iam:PassRole" in done["cause"]


def test_queue_batches_need_only_the_permission_of_the_single_call(stack: Stack) -> None:
    stack.allow_caller("queues", ["sqs:SendMessage", "sqs:DeleteMessage"], "*")
    client = stack.client_of_caller("sqs")
    entries = [{"Id": "1", "MessageBody": json.dumps({"id": "batch"})}]
    assert client.send_message_batch(QueueUrl=stack.outputs["Queue"], Entries=entries)["Successful"]
    with pytest.raises(ClientError):
        client.receive_message(QueueUrl=stack.outputs["Queue"])
    stack.disallow_caller("queues")
