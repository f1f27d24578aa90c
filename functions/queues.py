"""Messages between the functions: sending them surely, and trying again soon after a failure."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_FIRST_RETRY_SECONDS = 5
_LONGEST_RETRY_SECONDS = 300


class Queue:
    """One SQS queue."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self.client = client
        self.url = url

    def send(self, message: dict[str, Any], delay_seconds: int = 0) -> None:
        self.client.send_message(QueueUrl=self.url, MessageBody=_dump(message), DelaySeconds=delay_seconds)

    @contextmanager
    def delivery(self, record: SQSRecord) -> Iterator[dict[str, Any]]:
        """The message of one delivery; on a failure it comes again after a short while, longer each time.

        Left alone it would stay hidden for the queue's visibility timeout, which is six times the function's
        own and meant for functions that died.
        """
        try:
            yield json.loads(record.body)
        except Exception:
            attempt = int(record.attributes.approximate_receive_count)
            seconds = min(_FIRST_RETRY_SECONDS * 2 ** (attempt - 1), _LONGEST_RETRY_SECONDS)
            self.client.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=record.receipt_handle, VisibilityTimeout=seconds
            )
            raise

    def drain(self, limit: int) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield up to `limit` messages with their receipts, without waiting for more to come."""
        taken = 0
        while taken < limit:
            messages = self.client.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=min(10, limit - taken), WaitTimeSeconds=0
            ).get("Messages", [])
            if not messages:
                return
            for message in messages:
                taken += 1
                yield _load(message["Body"]), message["ReceiptHandle"]

    def delete(self, receipt: str) -> None:
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)


def _load(body: str) -> dict[str, Any]:
    """A message; an empty one where it is none of ours."""
    try:
        message = json.loads(body)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _dump(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
