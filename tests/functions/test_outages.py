"""A service that is out costs a message no delivery: five failed ones would give up a good message."""

import json
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError

from functions.services.queues import Queue, is_outage
from tests.functions.world import World


class Out(Exception):
    """A fault of the function's own."""


def answered(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Call")


OUTAGES = [
    answered("InternalServerError", 500),
    answered("SlowDown", 503),
    answered("ProvisionedThroughputExceededException", 400),
    answered("ConditionalRequestConflict", 409),
    EndpointConnectionError(endpoint_url="https://example.org"),
    ConnectTimeoutError(endpoint_url="https://example.org"),
]
FAULTS = [answered("AccessDenied", 403), answered("ValidationException", 400), NoCredentialsError(), Out()]


def deliver(queue: Queue, error: Exception) -> list[tuple[str, int]]:
    """Deliver the queue's message and fail with it; return the messages then in the queue, with their receives."""
    (raw,) = queue.client.receive_message(QueueUrl=queue.url, AttributeNames=["All"])["Messages"]
    record = SQSRecord(
        {"body": raw["Body"], "receiptHandle": raw["ReceiptHandle"], "attributes": raw["Attributes"]}
    )
    try:
        with queue.delivery(record):
            raise error
    except type(error):
        pass
    else:
        queue.delete(raw["ReceiptHandle"])  # as Lambda does with a delivery that succeeded
    return _hurried(queue)


def _hurried(queue: Queue) -> list[tuple[str, int]]:
    """The bodies in a queue and their receives so far, all of them visible at once."""
    delays = []
    for message in _messages(queue):
        message.visible_at = message.delayed_until = 0
        delays.append((message.body, message.approximate_receive_count))
    return delays


def _messages(queue: Queue) -> list[Any]:
    from moto.sqs.models import sqs_backends

    backend = sqs_backends["123456789012"]["us-east-1"]
    return list(backend.queues[queue.url.rsplit("/", 1)[-1]]._messages)


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__ + str(error)[:40])
def test_an_outage_costs_no_delivery(running_world: World, error: Exception) -> None:
    queue = running_world.aws.shards_queue
    queue.send({"upload": "u"})
    for outage in range(1, 10):
        ((body, receives),) = deliver(queue, error)
        assert (json.loads(body), receives) == ({"upload": "u", "outages": outage}, 0)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_fault_costs_a_delivery(running_world: World, error: Exception) -> None:
    queue = running_world.aws.shards_queue
    queue.send({"upload": "u"})
    assert deliver(queue, error) == [('{"upload":"u"}', 1)]


def test_an_outage_without_an_end_is_a_fault_in_the_end(running_world: World) -> None:
    queue = running_world.aws.shards_queue
    queue.send({"upload": "u"})
    receives = [deliver(queue, OUTAGES[0])[0][1] for _ in range(22)]
    assert receives == [0] * 20 + [1, 2]


def test_where_the_queue_is_out_as_well_the_message_stays(
    running_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = running_world.aws.shards_queue
    queue.send({"upload": "u"})

    def out(*_: Any, **__: Any) -> None:
        raise OUTAGES[0]

    monkeypatch.setattr(Queue, "send", out)
    assert deliver(queue, OUTAGES[0]) == [('{"upload":"u"}', 1)]


def test_an_outage_is_told_from_a_fault_of_the_request() -> None:
    assert [is_outage(error) for error in OUTAGES + FAULTS] == [True] * len(OUTAGES) + [False] * len(FAULTS)
