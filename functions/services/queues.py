"""Messages between the functions: sending them surely, and trying again soon after a failure."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from mypy_boto3_sqs import SQSClient

logger = Logger()

# Of a service that is out or overrun, with any status: botocore's standard retry mode has the same
# (botocore/retries/standard.py).
_OUTAGE_CODES = {
    "BandwidthLimitExceeded",
    "ConditionalRequestConflict",  # which botocore leaves to us
    "InternalError",
    "InternalServerError",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}

_FIRST_RETRY_SECONDS = 5
_MAX_RETRY_SECONDS = 300
_OUTAGES_FORGIVEN = 20
"""For more than an hour; after that a failure counts, so that the alarm of the dead letters hears of it."""


class Queue:
    """One SQS queue."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self.client = client
        self.url = url

    def send(self, message: dict[str, Any], delay_seconds: int = 0) -> None:
        """Send a message, now or later.

        Those of an upload are one group, so that a small file does not wait behind a large one: SQS delivers
        quiet groups of a standard queue first ("fair queues"), for $0.10 more a million requests. A message
        without a group, as EventBridge's, counts as a tenant of its own.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html
        """
        request: Any = {"QueueUrl": self.url, "MessageBody": _dump(message), "DelaySeconds": delay_seconds}
        if "upload" in message:
            request["MessageGroupId"] = message["upload"]
        self.client.send_message(**request)

    @contextmanager
    def delivery(self, record: "SQSRecord") -> Iterator[dict[str, Any]]:
        """The message of one delivery; on a failure it comes again after a short while, longer each time.

        Left alone it would stay hidden for the queue's visibility timeout, which is six times the function's
        own and meant for functions that died. Five deliveries that fail make a dead letter: where a service
        is out, nothing is wrong with the message, and a copy that was never delivered takes its place.
        """
        message = json.loads(record.body)
        try:
            yield message
        except Exception as error:
            if is_outage(error) and self._put_off(message):
                logger.warning("put off", extra={"queue": self.url, "why": str(error)})
                return
            attempt = int(record.attributes.approximate_receive_count)
            seconds = min(_FIRST_RETRY_SECONDS * 2 ** (attempt - 1), _MAX_RETRY_SECONDS)
            self.client.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=record.receipt_handle, VisibilityTimeout=seconds
            )
            raise

    def _put_off(self, message: dict[str, Any]) -> bool:
        """Send a message again for later, so many times; say whether that was done."""
        outages = message.get("outages", 0)
        if outages >= _OUTAGES_FORGIVEN:
            return False
        delay = min(_FIRST_RETRY_SECONDS * 2**outages, _MAX_RETRY_SECONDS)
        try:
            self.send(message | {"outages": outages + 1}, delay)
        except (BotoCoreError, ClientError):
            return False  # the queue is out as well
        return True

    def drain(self, limit: int) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield up to `limit` messages with their receipts, without waiting for more to come."""
        received = 0
        while received < limit:
            messages = self.client.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=min(10, limit - received), WaitTimeSeconds=0
            ).get("Messages", [])
            if not messages:
                return
            for message in messages:
                received += 1
                yield _load(message["Body"]), message["ReceiptHandle"]

    def delete(self, receipt: str) -> None:
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)


def is_outage(error: Exception) -> bool:
    """True if a service did not answer, or answered that it could not: no fault of the request.

    https://docs.aws.amazon.com/general/latest/gr/api-retries.html
    """
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error.response["Error"]["Code"] in _OUTAGE_CODES
    return isinstance(error, (ConnectionError, HTTPClientError))


def _load(body: str) -> dict[str, Any]:
    """A message; an empty one where it is none of ours."""
    try:
        message = json.loads(body)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _dump(message: dict[str, Any]) -> str:
    """Write a message as JSON in ASCII: SQS refuses some characters that stand in headers.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    """
    body = orjson.dumps(message)
    return body.decode("ascii") if body.isascii() else json.dumps(message, separators=(",", ":"))
