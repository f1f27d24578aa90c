"""Tasks of a state machine: the answer, the error's name, and the permission it takes, as on AWS."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.conftest import Stack
from tests.cloud.sagemaker.models import source
from tests.cloud.sagemaker.test_sagemaker import IMAGE, finished, put
from tests.waiting import Gate, until

ACCOUNT = "000000000000"
PACKAGES = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package"


class Machines:
    """State machines for one test, each with a role of its own and just the permissions named."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._made: list[tuple[str, str]] = []

    def make(self, states: dict[str, Any], allowed: dict[str, list[str]], **more: Any) -> str:
        """A machine that begins with the first state; `allowed` is resource → actions."""
        name = f"m-{uuid.uuid4().hex[:8]}"
        iam = self.stack.client("iam")
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "states.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        statements = [
            {"Effect": "Allow", "Action": actions, "Resource": resource}
            for resource, actions in allowed.items()
        ]
        if statements:
            document = json.dumps({"Statement": statements})
            iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=document)
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **more}
        arn: str = self.stack.client("stepfunctions").create_state_machine(
            name=name, definition=json.dumps(definition), roleArn=role["Role"]["Arn"]
        )["stateMachineArn"]
        self._made.append((arn, name))
        return arn

    def start(self, machine: str, **arguments: Any) -> str:
        arn: str = self.stack.client("stepfunctions").start_execution(
            stateMachineArn=machine, input=json.dumps(arguments)
        )["executionArn"]
        return arn

    def end(self, execution: str) -> dict[str, Any]:
        client = self.stack.client("stepfunctions")
        until(lambda: client.describe_execution(executionArn=execution)["status"] != "RUNNING")
        description: dict[str, Any] = client.describe_execution(executionArn=execution)
        return description

    def run(self, states: dict[str, Any], allowed: dict[str, list[str]], **more: Any) -> dict[str, Any]:
        return self.end(self.start(self.make(states, allowed, **more)))

    def remove(self) -> None:
        for arn, role in self._made:
            self.stack.client("stepfunctions").delete_state_machine(stateMachineArn=arn)
            iam = self.stack.client("iam")
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                iam.delete_role_policy(RoleName=role, PolicyName=policy)
            iam.delete_role(RoleName=role)


@pytest.fixture
def machines(stack: Stack) -> Iterator[Machines]:
    made = Machines(stack)
    yield made
    made.remove()


def task(resource: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::{resource}",
        "Arguments": arguments,
        **({} if "Next" in more else {"End": True}),
        **more,
    }


CAUGHT = {
    "Type": "Pass",
    "Output": {"caught": "{% $error %}", "cause": "{% $cause %}"},
    "End": True,
}


def catching(*errors: str) -> list[dict[str, Any]]:
    output = {"error": "{% $states.errorOutput.Error %}", "cause": "{% $states.errorOutput.Cause %}"}
    return [{"ErrorEquals": list(errors), "Assign": output, "Next": "Caught"}]


def table(stack: Stack) -> str:
    return f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{stack.outputs['Table']}"


def take_lock(stack: Stack, key: str) -> dict[str, Any]:
    return {
        "TableName": stack.outputs["Table"],
        "Key": {"pk": {"S": "lock"}, "sk": {"S": key}},
        "UpdateExpression": "SET holder = :me, fence = if_not_exists(fence, :zero) + :one",
        "ConditionExpression": "attribute_not_exists(holder)",
        "ExpressionAttributeValues": {
            ":me": {"S": "{% $states.context.Execution.Id %}"},
            ":zero": {"N": "0"},
            ":one": {"N": "1"},
        },
        "ReturnValues": "ALL_NEW",
    }


def test_an_update_gives_the_new_values_and_a_failed_condition_is_caught_by_its_name(
    machines: Machines,
) -> None:
    key = uuid.uuid4().hex
    states = {
        "Lock": task(
            "dynamodb:updateItem",
            take_lock(machines.stack, key),
            Output={"fence": "{% $number($states.result.Attributes.fence.N) %}"},
            Catch=catching("DynamoDB.ConditionalCheckFailedException"),
        ),
        "Caught": CAUGHT,
    }
    machine = machines.make(states, {table(machines.stack): ["dynamodb:UpdateItem"]})
    first, second = machines.end(machines.start(machine)), machines.end(machines.start(machine))
    assert json.loads(first["output"]) == {"fence": 1}
    assert json.loads(second["output"])["caught"] == "DynamoDB.ConditionalCheckFailedException"
    assert machines.stack.rows("lock")[key]["holder"]["S"] == first["executionArn"]


def test_a_cancelled_transaction_is_caught_by_its_name_and_changed_nothing(machines: Machines) -> None:
    key, name = uuid.uuid4().hex, machines.stack.outputs["Table"]
    items = [
        {"Put": {"TableName": name, "Item": {"pk": {"S": "made"}, "sk": {"S": key}}}},
        {
            "ConditionCheck": {
                "TableName": name,
                "Key": {"pk": {"S": "lock"}, "sk": {"S": "{% $states.input.lock %}"}},
                "ConditionExpression": "attribute_exists(pk)",
            }
        },
    ]
    states = {
        "Write": task(
            "aws-sdk:dynamodb:transactWriteItems",
            {"TransactItems": items},
            Catch=catching("DynamoDb.TransactionCanceledException"),
        ),
        "Caught": CAUGHT,
    }
    allowed = {table(machines.stack): ["dynamodb:PutItem", "dynamodb:ConditionCheckItem"]}
    done = machines.end(machines.start(machines.make(states, allowed), lock=key))
    error = json.loads(done["output"])
    assert error["caught"] == "DynamoDb.TransactionCanceledException", done
    assert "[None, ConditionalCheckFailed]" in error["cause"]
    assert key not in machines.stack.rows("made")


def test_when_a_model_was_made_is_a_time_that_an_expression_can_compare(machines: Machines) -> None:
    """By it the state machine knows its own model from one that was there before."""
    name = f"made-{uuid.uuid4().hex[:8]}"
    sagemaker = machines.stack.client("sagemaker")
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/any",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://models/any/model.tar.gz"},
    )
    made = "$toMillis($states.result.CreationTime)"
    states = {
        "Read": task(
            "aws-sdk:sagemaker:describeModel",
            {"ModelName": name},
            Output={"before": f"{{% {made} <= $toMillis($states.context.Execution.StartTime) %}}"},
        )
    }
    try:
        allowed = {f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model/{name}": ["sagemaker:DescribeModel"]}
        done = machines.run(states, allowed)
    finally:
        sagemaker.delete_model(ModelName=name)
    assert json.loads(done["output"]) == {"before": True}, done


def test_a_notification_reaches_its_subscriber(machines: Machines) -> None:
    sns, sqs = machines.stack.client("sns"), machines.stack.client("sqs")
    topic = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]
    queue = sqs.create_queue(QueueName=topic.rsplit(":", 1)[-1])["QueueUrl"]
    target = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    deliver = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": target,
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps({"Statement": [deliver]})})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=target)
    arguments = {
        "TopicArn": topic,
        "Subject": "Retraining: Promoted",
        "Message": "{% 'version ' & $states.input.version %}",
        "MessageAttributes": {"outcome": {"DataType": "String", "StringValue": "Promoted"}},
    }
    states = {
        "Notify": task("sns:publish", arguments, Catch=catching("SNS.NotFoundException")),
        "Caught": CAUGHT,
    }
    machine = machines.make(states, {topic: ["sns:Publish"]})
    done = machines.end(machines.start(machine, version="v1"))
    assert json.loads(done["output"])["MessageId"], done
    message = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))[0]
    body = json.loads(message["Body"])
    assert (body["Subject"], body["Message"]) == ("Retraining: Promoted", "version v1")
    assert body["MessageAttributes"]["outcome"]["Value"] == "Promoted"
    sns.delete_topic(TopicArn=topic)
    caught = machines.end(machines.start(machine, version="v1"))
    assert json.loads(caught["output"])["caught"] == "SNS.NotFoundException"


def test_a_package_is_registered_approved_and_deleted(machines: Machines) -> None:
    client, group = machines.stack.client("sagemaker"), f"g-{uuid.uuid4().hex[:8]}"
    client.create_model_package_group(ModelPackageGroupName=group)
    register = {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": "{% 'version ' & $states.input.version %}",
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "CustomerMetadataProperties": {"version": "{% $states.input.version %}"},
    }
    states = {
        "Register": task(
            "aws-sdk:sagemaker:createModelPackage",
            register,
            Assign={"package": "{% $states.result.ModelPackageArn %}"},
            Next="Approve",
        ),
        "Approve": task(
            "aws-sdk:sagemaker:updateModelPackage",
            {
                "ModelPackageArn": "{% $package %}",
                "ModelApprovalStatus": "Approved",
                "CustomerMetadataProperties": {"revision": "3"},
            },
            Output={"package": "{% $states.result.ModelPackageArn %}"},
        ),
    }
    allowed = {
        f"{PACKAGES}-group/{group}": ["sagemaker:CreateModelPackage"],
        f"{PACKAGES}/{group}/*": [
            "sagemaker:CreateModelPackage",
            "sagemaker:UpdateModelPackage",
            "sagemaker:DeleteModelPackage",
        ],
        "arn:aws:s3:::b/model.tar.gz": ["s3:GetObject"],
        "arn:aws:ecr:*": ["ecr:BatchGetImage", "ecr:DescribeImages"],
    }
    done = machines.end(machines.start(machines.make(states, allowed), version="v1"))
    assert done["status"] == "SUCCEEDED", done
    description = client.describe_model_package(ModelPackageName=json.loads(done["output"])["package"])
    assert description["ModelApprovalStatus"] == "Approved"
    assert description["CustomerMetadataProperties"] == {"version": "v1", "revision": "3"}
    arguments = {"ModelPackageName": description["ModelPackageArn"]}
    delete = {
        "Delete": task(
            "aws-sdk:sagemaker:deleteModelPackage", arguments, Catch=catching("SageMaker.SageMakerException")
        ),
        "Caught": CAUGHT,
    }
    machine = machines.make(delete, allowed)
    assert machines.end(machines.start(machine))["status"] == "SUCCEEDED"
    again = machines.end(machines.start(machine))
    assert "does not exist" in json.loads(again["output"])["cause"], again


def test_a_function_answers_and_its_error_is_caught_by_its_class(machines: Machines) -> None:
    function = machines.stack.outputs["AnswerFunction"]
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{function}"
    allowed = {arn: ["lambda:InvokeFunction"]}
    arguments = {"FunctionName": function, "Payload": {"ask": "pid"}}
    answered = machines.run(
        {"Ask": task("lambda:invoke", arguments, Output="{% $states.result.Payload.statusCode %}")}, allowed
    )
    assert json.loads(answered["output"]) == 200, answered
    arguments = {"FunctionName": arn, "Payload": {"ask": "error"}}
    states = {
        "Ask": task("lambda:invoke", arguments, Catch=catching("LookupError")),
        "Caught": CAUGHT,
    }
    caught = json.loads(machines.run(states, allowed)["output"])
    assert json.loads(caught["cause"])["errorType"] == "LookupError"


@pytest.mark.parametrize(
    ("resource", "arguments", "action"),
    [
        ("dynamodb:updateItem", {"TableName": "t", "Key": {}}, "dynamodb:UpdateItem"),
        (
            "aws-sdk:dynamodb:transactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "t", "Item": {}}}]},
            "dynamodb:PutItem",
        ),
        ("sns:publish", {"TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": "m"}, "sns:Publish"),
        (
            "aws-sdk:sagemaker:createModelPackage",
            {"ModelPackageGroupName": "g"},
            "sagemaker:CreateModelPackage",
        ),
        (
            "aws-sdk:sagemaker:updateModelPackage",
            {"ModelPackageArn": f"{PACKAGES}/g/1"},
            "sagemaker:UpdateModelPackage",
        ),
        (
            "aws-sdk:sagemaker:deleteModelPackage",
            {"ModelPackageName": f"{PACKAGES}/g/1"},
            "sagemaker:DeleteModelPackage",
        ),
        ("lambda:invoke", {"FunctionName": "f"}, "lambda:InvokeFunction"),
    ],
)
def test_every_call_needs_its_permission(
    machines: Machines, resource: str, arguments: dict[str, Any], action: str
) -> None:
    done = machines.run({"Call": task(resource, arguments)}, {})
    assert done["status"] == "FAILED"
    assert done["error"].endswith(".AccessDeniedException"), done
    assert action in done["cause"]


def test_an_execution_ends_when_its_time_is_over_and_does_nothing_more(machines: Machines) -> None:
    key = uuid.uuid4().hex
    write = {
        "TableName": machines.stack.outputs["Table"],
        "Item": {"pk": {"S": "late"}, "sk": {"S": key}},
    }
    states = {
        "Sleep": {"Type": "Wait", "Seconds": 5, "Next": "Write"},
        "Write": task("dynamodb:putItem", write),
    }
    allowed = {table(machines.stack): ["dynamodb:PutItem"]}
    done = machines.run(states, allowed, TimeoutSeconds=1)
    assert (done["status"], done["error"]) == ("TIMED_OUT", "States.Timeout")
    # One that is given its time, and that began later: when it has ended, the first would have written too.
    write["Item"]["sk"] = {"S": f"{key} in time"}
    assert machines.run(states, allowed)["status"] == "SUCCEEDED"
    assert machines.end(done["executionArn"])["status"] == "TIMED_OUT"
    assert set(machines.stack.rows("late")) == {f"{key} in time"}


def test_variables_of_one_state_are_assigned_together(machines: Machines) -> None:
    states = {
        "First": {"Type": "Pass", "Assign": {"a": 1, "b": 2}, "Next": "Second"},
        "Second": {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Next": "Show"},
        "Show": {"Type": "Pass", "Output": {"a": "{% $a %}", "b": "{% $b %}"}, "End": True},
    }
    assert json.loads(machines.run(states, {})["output"]) == {"a": 2, "b": 1}


@pytest.mark.parametrize("end", ["execution", pytest.param("state", marks=pytest.mark.slow), "stopped"])
def test_a_training_job_that_nobody_waits_for_any_more_is_stopped(
    machines: Machines, end: str, tmp_path: Path
) -> None:
    stack, name, gate = machines.stack, f"job-{uuid.uuid4().hex[:8]}", Gate(tmp_path / "gate")
    source_url = put(stack, "models/code/sourcedir.tar.gz", source())
    put(stack, "models/data/data.fasta", b">a\nM\n")
    arguments = {
        "TrainingJobName": name,
        "RoleArn": stack.outputs["HostRole"],
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{stack.outputs['Bucket']}/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "HyperParameters": {
            "gate": str(gate.path),
            "sagemaker_submit_directory": source_url,
            "sagemaker_program": "model/train.py",
        },
    }
    state = task("sagemaker:createTrainingJob.sync", arguments)
    machine = machines.make(
        {"Train": state | ({"TimeoutSeconds": 5} if end == "state" else {})},
        {"*": ["sagemaker:*", "events:*", "iam:PassRole"]},
        **({"TimeoutSeconds": 5} if end == "execution" else {}),
    )
    execution = machines.start(machine)
    client = stack.client("sagemaker")
    until(lambda: name in json.dumps(client.list_training_jobs(), default=str))
    if end == "stopped":
        stack.client("stepfunctions").stop_execution(executionArn=execution)
    machines.end(execution)
    assert finished(stack, name)["TrainingJobStatus"] == "Stopped"
