"""A message that a function sends to its own queue: as often as Lambda delivers it, and no more."""

from __future__ import annotations

import json

from protloc.cloud.lambdas import lineage
from tests.cloud.conftest import Stack
from tests.waiting import until

ARN, OTHER = "arn:aws:lambda:us-east-1:0:function:one", "arn:aws:lambda:us-east-1:0:function:other"


def test_the_seventeenth_delivery_of_a_loop_is_refused_until_the_message_is_dead(stack: Stack) -> None:
    queues, metrics = stack.client("sqs"), stack.client("cloudwatch")
    body = json.dumps({"loop": "stopped", "round": 1, "last": 30})
    queues.send_message(QueueUrl=stack.outputs["LoopQueue"], MessageBody=body)

    def dead() -> list[dict[str, str]]:
        received = queues.receive_message(QueueUrl=stack.outputs["LoopDeadLetters"], WaitTimeSeconds=1)
        return list(received.get("Messages", []))

    (letter,) = until(dead)
    assert json.loads(letter["Body"])["round"] == 17
    assert len(stack.rows("stopped")) == 16
    counted = metrics.list_metrics(Namespace="AWS/Lambda", MetricName="RecursiveInvocationsDropped")[
        "Metrics"
    ]
    assert [m["Dimensions"][0]["Value"] for m in counted] == [stack.outputs["LoopFunction"]]


def test_a_function_that_is_allowed_to_loop_gets_every_delivery(stack: Stack) -> None:
    body = json.dumps({"loop": "allowed", "round": 1, "last": 30})
    stack.client("sqs").send_message(QueueUrl=stack.outputs["AllowedLoopQueue"], MessageBody=body)
    until(lambda: len(stack.rows("allowed")) == 30)
    name = stack.outputs["AllowedLoopFunction"]
    setting = stack.client("lambda").get_function_recursion_config(FunctionName=name)
    assert setting["RecursiveLoop"] == "Allow"


def test_every_invocation_has_a_trace_that_boto_hands_on(stack: Stack) -> None:
    ask = json.dumps({"ask": "environment"}).encode()
    answered = stack.client("lambda").invoke(FunctionName=stack.outputs["AnswerFunction"], Payload=ask)
    environment = json.loads(json.load(answered["Payload"])["body"])["environment"]
    assert environment["_X_AMZN_TRACE_ID"].startswith("Root=1-")


def test_a_lineage_counts_each_function_of_a_chain_by_itself() -> None:
    trace = ""
    for invocation in range(1, 20):
        traces = [trace] if trace else []
        assert lineage.invocation(ARN, traces) == invocation
        trace = lineage.handed_on(OTHER, [lineage.handed_on(ARN, traces)])
    assert lineage.invocation(OTHER, [trace]) == 20
    assert lineage.invocation("arn:aws:lambda:us-east-1:0:function:third", [trace]) == 1


def test_of_several_messages_the_longest_chain_counts() -> None:
    long = lineage.handed_on(ARN, [lineage.handed_on(ARN, [])])
    records = [
        {"eventSource": "aws:sqs", "attributes": {}},
        {"eventSource": "aws:sqs", "attributes": {"AWSTraceHeader": long}},
    ]
    traces = lineage.arriving({"Records": records})
    assert lineage.invocation(ARN, traces) == 3
    assert "Root=" + long.split(";")[0].removeprefix("Root=") in lineage.handed_on(ARN, traces)
