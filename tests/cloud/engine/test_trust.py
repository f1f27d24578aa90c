"""Services reach the resources that a role or a policy allows, and nothing else."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from protloc.cloud.contracts.demands import Permission
from protloc.cloud.engine.trust import mapping_permissions
from tests.cloud.conftest import Stack
from tests.waiting import until

ACCOUNT = "000000000000"
READS_QUEUE = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
READS_STREAM = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]


def mapping(source: dict[str, Any], statements: list[dict[str, Any]]) -> str:
    """A template with a queue, a table, a function and its mapping to one of the two."""
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    key = {"AttributeName": "pk", "KeyType": "HASH"}
    resources: dict[str, Any] = {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                "KeySchema": [key],
                "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
            },
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {"Statement": [trust]},
                "Policies": [{"PolicyName": "may", "PolicyDocument": {"Statement": statements}}],
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Code": {"ZipFile": "def handler(event, context): pass"},
            },
        },
        "Mapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {"FunctionName": {"Ref": "Function"}, **source},
        },
    }
    return json.dumps({"Resources": resources})


@contextmanager
def deployed(stack: Stack, template: str) -> Iterator[list[dict[str, Any]]]:
    """The events of a stack that is made of a template, and goes again."""
    formation, name = stack.client("cloudformation"), f"s-{uuid.uuid4().hex[:8]}"
    formation.create_stack(
        StackName=name, TemplateBody=template, OnFailure="DO_NOTHING", Capabilities=["CAPABILITY_IAM"]
    )
    until(lambda: "IN_PROGRESS" not in formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
    yield formation.describe_stack_events(StackName=name)["StackEvents"]
    formation.delete_stack(StackName=name)


def reasons(events: list[dict[str, Any]]) -> str:
    failed = [each for each in events if each["ResourceStatus"] == "CREATE_FAILED"]
    return " ".join(
        each.get("ResourceStatusReason", "") for each in failed if each["LogicalResourceId"] == "Mapping"
    )


QUEUE = {"EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]}}
STREAM = {"EventSourceArn": {"Fn::GetAtt": ["Table", "StreamArn"]}, "StartingPosition": "TRIM_HORIZON"}
GIVES_UP = {**STREAM, "DestinationConfig": {"OnFailure": {"Destination": QUEUE["EventSourceArn"]}}}
ON_QUEUE = {"Effect": "Allow", "Action": READS_QUEUE, "Resource": QUEUE["EventSourceArn"]}
ON_STREAM = {"Effect": "Allow", "Action": READS_STREAM, "Resource": STREAM["EventSourceArn"]}
LISTS = {"Effect": "Allow", "Action": ["dynamodb:ListStreams"], "Resource": "*"}
SENDS = {"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": QUEUE["EventSourceArn"]}


@pytest.mark.parametrize(
    ("source", "statements", "lacking"),
    [
        (QUEUE, [ON_QUEUE], ""),
        *(
            (QUEUE, [{**ON_QUEUE, "Action": [a for a in READS_QUEUE if a != action]}], action)
            for action in READS_QUEUE
        ),
        (GIVES_UP, [ON_STREAM, LISTS, SENDS], ""),
        (GIVES_UP, [ON_STREAM, LISTS], "sqs:SendMessage"),
        (STREAM, [ON_STREAM], "dynamodb:ListStreams"),
        (STREAM, [{**ON_STREAM, "Action": [*READS_STREAM, "dynamodb:ListStreams"]}], "dynamodb:ListStreams"),
        (STREAM, [{**ON_STREAM, "Action": READS_STREAM[1:]}, LISTS], READS_STREAM[0]),
    ],
)
def test_a_mapping_needs_a_role_that_may_read_its_source(
    stack: Stack, source: dict[str, Any], statements: list[dict[str, Any]], lacking: str
) -> None:
    with deployed(stack, mapping(source, statements)) as events:
        failures = reasons(events)
    assert lacking in failures and bool(failures) == bool(lacking), failures


def test_a_function_that_sends_on_its_failures_needs_the_permission() -> None:
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:letters"
    permissions = mapping_permissions(
        {"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": queue}}}
    )
    assert list(permissions) == [Permission("sqs:SendMessage", queue)]


class Listener:
    """A topic, a queue that subscribed to it, and a rule that sends to the topic; letters are the rule's."""

    def __init__(self, stack: Stack) -> None:
        self.stack, name = stack, f"l-{uuid.uuid4().hex[:8]}"
        self.source = name
        self.queues = {kind: self._queue(f"{name}-{kind}") for kind in ("heard", "letters")}
        self.topic = stack.client("sns").create_topic(Name=name)["TopicArn"]
        stack.client("sns").subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=self.arn("heard"))
        events = stack.client("events")
        pattern = json.dumps({"source": [name]})
        self.rule = events.put_rule(Name=name, EventPattern=pattern)["RuleArn"]
        target = {"Id": "t", "Arn": self.topic, "DeadLetterConfig": {"Arn": self.arn("letters")}}
        events.put_targets(Rule=name, Targets=[target])

    def _queue(self, name: str) -> str:
        anybody = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
        url: str = self.stack.client("sqs").create_queue(
            QueueName=name, Attributes={"Policy": json.dumps({"Statement": [anybody]})}
        )["QueueUrl"]
        return url

    def arn(self, kind: str) -> str:
        return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{self.queues[kind].rsplit('/', 1)[-1]}"

    def let_in(self, **condition: Any) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": self.topic,
            **({"Condition": condition} if condition else {}),
        }
        self.stack.client("sns").set_topic_attributes(
            TopicArn=self.topic, AttributeName="Policy", AttributeValue=json.dumps({"Statement": [statement]})
        )

    def tell(self) -> str:
        """Send an event; where it arrived."""
        entry = {"Source": self.source, "DetailType": "t", "Detail": "{}"}
        self.stack.client("events").put_events(Entries=[entry])
        return arrival(self.stack, self.queues)


def arrival(stack: Stack, queues: dict[str, str]) -> str:
    """Wait for the next message and name its queue; the message is removed."""
    client = stack.client("sqs")

    def arrived() -> str | None:
        for kind, url in queues.items():
            for message in client.receive_message(QueueUrl=url).get("Messages", []):
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                return kind
        return None

    return str(until(arrived))


def test_a_topic_whose_policy_has_a_condition_hears_nothing_of_a_rule(stack: Stack) -> None:
    listener = Listener(stack)
    listener.let_in(ArnEquals={"aws:SourceArn": listener.rule})
    assert listener.tell() == "letters"
    listener.let_in()
    assert listener.tell() == "heard"


def test_a_schedule_calls_as_its_role(stack: Stack) -> None:
    iam, name = stack.client("iam"), f"c-{uuid.uuid4().hex[:8]}"
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "scheduler.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))[
        "Role"
    ]["Arn"]
    sqs = stack.client("sqs")
    queues = {
        kind: sqs.create_queue(QueueName=f"{name}-{kind}")["QueueUrl"] for kind in ("called", "letters")
    }
    arns = {kind: f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}-{kind}" for kind in queues}

    def may(*kinds: str) -> None:
        statement = {
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": [arns[kind] for kind in kinds],
        }
        iam.put_role_policy(
            RoleName=name, PolicyName="may", PolicyDocument=json.dumps({"Statement": [statement]})
        )

    def called() -> str:
        stack.client("scheduler").create_schedule(
            Name=f"s-{uuid.uuid4().hex[:8]}",
            ScheduleExpression=f"at({time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={
                "Arn": arns["called"],
                "RoleArn": role,
                "Input": "{}",
                "DeadLetterConfig": {"Arn": arns["letters"]},
            },
        )
        return arrival(stack, queues)

    may("letters")
    assert called() == "letters"
    may("called", "letters")
    assert called() == "called"
