"""SQS in memory, shaped like boto3's client: visibility, delay, receive counts, expiry and dead letters."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.simulation.surroundings import Calm, Surroundings, refusal

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_GROUP = re.compile(r"[!-~]{1,128}")

Listener = Callable[["MessageQueue", float], None]  # a message is there to take from then on


@dataclass
class Message:
    body: str
    visible: float  # from when it can be taken
    expires: float
    identity: str = ""
    receives: int = 0
    receipt: str = ""
    shown: bool = True
    """True if a receiver set when it can be taken again; else it is hidden for its queue's visibility timeout."""
    waited_out: bool = False
    """True if it came back only because its visibility timeout was over."""
    lineage: dict[str, int] = field(default_factory=dict)
    """The number of times that the event behind it has invoked each function."""
    group: str | None = None


@dataclass
class MessageQueue:
    """One queue; `dead_letters` takes messages received more than `max_receives` times."""

    name: str
    visibility_seconds: int = 30
    retention_seconds: int = 4 * 86_400
    max_receives: int = 0
    dead_letters: MessageQueue | None = None
    messages: list[Message] = field(default_factory=list)


class MessageService:
    """All queues; a queue's URL is its name."""

    def __init__(self, surroundings: Surroundings | None = None, chance: random.Random | None = None) -> None:
        self.queues: dict[str, MessageQueue] = {}
        self.listeners: list[Listener] = []
        self.acknowledged: list[
            Callable[[MessageQueue, Message], None]
        ] = []  # called for each removed message
        self.lost: list[
            Callable[[MessageQueue, Message], None]
        ] = []  # for each message that no function will take any more
        self.added: list[Callable[[MessageQueue, Message], None]] = []
        self._surroundings = surroundings or Calm()
        self._chance = chance or random.Random(0)
        self._receipts = 0

    def create(self, queue: MessageQueue) -> MessageQueue:
        self.queues[queue.name] = queue
        return queue

    # Calls of the functions

    def send_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MessageBody: str,  # noqa: N803
        DelaySeconds: int = 0,  # noqa: N803
        MessageGroupId: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        """Add a message. Its group changes nothing: messages are taken in any order, a fair one is among them."""

        def apply() -> dict[str, Any]:
            if not 0 <= DelaySeconds <= 900:
                raise refusal("sqs.SendMessage", "InvalidParameterValue", f"{DelaySeconds} seconds of delay")
            if MessageGroupId is not None and not _GROUP.fullmatch(MessageGroupId):
                raise refusal("sqs.SendMessage", "InvalidParameterValue", f"the group {MessageGroupId!r}")
            if not MessageBody or len(MessageBody.encode()) > 1_048_576:
                raise refusal("sqs.SendMessage", "InvalidParameterValue", "the message is too long or empty")
            lineage = self._surroundings.lineage()
            self.put(self.queues[QueueUrl], MessageBody, DelaySeconds, lineage, MessageGroupId)
            return {}

        about = (QueueUrl, DelaySeconds, MessageBody)
        return self._surroundings.step("sqs.SendMessage", about, apply)

    def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int = 1,  # noqa: N803
        WaitTimeSeconds: int = 0,  # noqa: N803
    ) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            messages = self.take(self.queues[QueueUrl], MaxNumberOfMessages)
            bodies = [{"Body": message.body, "ReceiptHandle": message.receipt} for message in messages]
            return {"Messages": bodies} if bodies else {}

        return self._surroundings.step("sqs.ReceiveMessage", QueueUrl, apply)

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:  # noqa: N803
        def apply() -> dict[str, Any]:
            self.remove(self.queues[QueueUrl], ReceiptHandle)
            return {}

        return self._surroundings.step("sqs.DeleteMessage", QueueUrl, apply)

    def change_message_visibility(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
    ) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            queue, now = self.queues[QueueUrl], self._surroundings.clock()
            for message in queue.messages:
                if message.receipt == ReceiptHandle:
                    if message.visible <= now:
                        raise refusal("sqs.ChangeMessageVisibility", "MessageNotInflight")
                    message.shown = True
                    self._show(queue, message, now + VisibilityTimeout)
                    return {}
            raise refusal("sqs.ChangeMessageVisibility", "InvalidParameterValue", "the receipt is not valid")

        about = (QueueUrl, VisibilityTimeout)
        return self._surroundings.step("sqs.ChangeMessageVisibility", about, apply)

    # Lambda's poller, and the state of messages

    def put(
        self,
        queue: MessageQueue,
        body: str,
        delay_seconds: float = 0,
        lineage: dict[str, int] | None = None,
        group: str | None = None,
    ) -> None:
        now = self._surroundings.clock()
        self._receipts += 1
        message = Message(
            body, now, now + queue.retention_seconds, f"message-{self._receipts}", lineage=lineage or {}
        )
        message.group = group
        queue.messages.append(message)
        for listener in self.added:
            listener(queue, message)
        self._show(queue, message, now + delay_seconds)

    def take(self, queue: MessageQueue, limit: int) -> list[Message]:
        """Up to so many messages in any order; the worn out ones go to the dead letters instead."""
        now = self._surroundings.clock()
        self.lose(queue, [message for message in queue.messages if message.expires <= now])
        ready = [message for message in queue.messages if message.visible <= now]
        if not ready:
            return []
        self._chance.shuffle(ready)
        batch: list[Message] = []
        for message in ready:
            if len(batch) == limit:
                break
            if queue.dead_letters and message.receives >= queue.max_receives:
                self.put(queue.dead_letters, message.body)
                queue.messages.remove(message)
                continue
            self._receipts += 1
            message.receives += 1
            message.receipt = f"{queue.name}-{self._receipts}"
            message.waited_out, message.shown = not message.shown, False
            self._show(queue, message, now + queue.visibility_seconds)
            batch.append(replace(message))
        return batch

    def remove(self, queue: MessageQueue, receipt: str) -> None:
        """An older receipt than the last removes nothing, and is no error."""
        removed = [message for message in queue.messages if message.receipt == receipt]
        queue.messages = [message for message in queue.messages if message.receipt != receipt]
        for message in removed:
            for listener in self.acknowledged:
                listener(queue, message)

    def lose(self, queue: MessageQueue, messages: list[Message]) -> None:
        """Let messages go that nobody acknowledged."""
        if messages:
            queue.messages = [message for message in queue.messages if message not in messages]
            for message in messages:
                for listener in self.lost:
                    listener(queue, message)

    def _show(self, queue: MessageQueue, message: Message, moment: float) -> None:
        message.visible = moment
        for listener in self.listeners:
            listener(queue, moment)
