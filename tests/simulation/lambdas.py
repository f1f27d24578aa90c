"""Lambda: polls queues and the stream, calls handlers on time, and ends invocations that take too long."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from functions import complete, erase, predict, receive, retry, split, sweep, withdraw
from functions.domain.errors import ProtlocError
from functions.services.uploads_table import batch_key
from tests.simulation import deployed
from tests.simulation.database import Item
from tests.simulation.messages import Message, MessageQueue
from tests.simulation.scheduler import Invocation

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_ROUNDS = 16
"""The most times that Lambda invokes a function for one event: https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"""

CROWD = 20
"""Messages in a queue from which on no delivery is repeated: each may leave one more copy."""

HANDLERS: dict[str, ModuleType] = {
    "receive": receive,
    "split": split,
    "predict": predict,
    "complete": complete,
    "retry": retry,
    "sweep": sweep,
    "withdraw": withdraw,
    "erase": erase,
}
_STREAMED = ("complete", "erase")
_POLLED = {"UploadsQueue": "receive", "ShardsQueue": "split", "BatchesQueue": "predict"}
_serialize: Callable[[Any], Any] = TypeSerializer().serialize


@dataclass
class StreamRecord:
    """One change of an upload that passed the stream's filter."""

    moment: float
    image: Item
    number: int


class Lambda:
    """The functions of one stack."""

    def __init__(self, world: World) -> None:
        self.world, self.simulation = world, world.simulation
        self.unexpected: list[str] = []
        self.failed = 0  # invocations, or records of one, that raised
        self._busy = 0  # invocations that are no sweeps, and changes in the stream that wait
        self.streams: dict[tuple[str, str], list[StreamRecord]] = {}  # by function and upload
        self.unheard: set[str] = set()  # uploads whose change in the stream was given up
        self.stream_ended: list[Callable[[str], None]] = []  # told of an upload with no record left
        self.redelivered: list[Callable[[MessageQueue, Message], None]] = []
        """Told of a message that is taken again, before it is."""
        self.holders: dict[
            str, list[Invocation]
        ] = {}  # of a message, by its name: the invocations that took it
        self._taken: Counter[str] = Counter()  # of a function's concurrency
        self._numbers = 0

    # Queues

    def on_message(self, queue: MessageQueue, moment: float) -> None:
        if queue.name in _POLLED:
            self._poll_at(queue.name, moment + self.simulation.random.random() * 0.5)

    def _poll_at(self, name: str, moment: float) -> None:
        self.simulation.at(moment, partial(self._poll, name))

    def _poll(self, name: str) -> None:
        """One invocation with messages of the queue, if another may run."""
        world, simulation = self.world, self.simulation
        queue, function = world.queues[name], _POLLED[name]
        described = deployed.function(f"{function.title()}Function")
        if not queue.messages or self._taken[function] >= described.concurrency:
            return
        most = world.scenario.batch_sizes.get(function, described.batch_size)
        simulation.crowded = len(queue.messages) > CROWD
        messages = world.sqs.take(queue, simulation.random.randint(1, most))
        if not messages:
            return
        rounds = max(message.lineage.get(function, 0) for message in messages)
        if rounds >= MAX_ROUNDS and not described.may_loop:
            simulation.tell(f"{function} is not invoked: its {rounds + 1}th time for one event")
            return self._poll_at(name, simulation.now)
        if simulation.faulty and simulation.random.random() < world.scenario.expiring:
            world.sqs.lose(queue, [m for m in queue.messages if m.receipt == messages[0].receipt])
            simulation.tell(f"a message of {name} expired")
            return self._poll_at(name, simulation.now)
        for message in messages:
            if message.receives > 1:
                for listener in self.redelivered:
                    listener(queue, message)
        self._start(function, queue, messages)
        twice = simulation.faulty and simulation.random.random() < simulation.faults.deliveries
        if twice and not simulation.crowded:
            self._start(function, queue, messages)  # delivered twice
        self._poll_at(name, simulation.now + 0.01)

    def _start(self, function: str, queue: MessageQueue, messages: list[Message]) -> None:
        described, simulation = deployed.function(f"{function.title()}Function"), self.simulation
        ended: list[bool] = []

        def end() -> None:
            """Let another one start: when this one ends, or at its timeout if it is frozen."""
            if not ended:
                ended.append(True)
                self._taken[function] -= 1
                self._poll_at(queue.name, simulation.now)

        def body() -> None:
            failures: set[str] | None = None
            killed = True
            try:
                event = {"Records": [_delivered(message, queue) for message in messages]}
                failures = self._call(function, event, invocation, EventType.SQS)
                killed = False
            finally:
                self._busy -= 1
                simulation.tell("died" if killed else "ended")
                end()
            if failures is None or (failures and not described.says_which_failed):
                failures = set() if failures else {message.identity for message in messages}
            self._acknowledge(queue, [m for m in messages if m.identity not in failures], invocation)

        self._busy += 1
        self._taken[function] += 1
        simulation.after(described.timeout_seconds, end)
        invocation = self._invoke(function, queue.visibility_seconds, described.timeout_seconds, body)
        for message in messages:
            self.holders.setdefault(message.identity, []).append(invocation)
        longest = max((message.lineage for message in messages), key=lambda rounds: rounds.get(function, 0))
        invocation.lineage = {**longest, function: longest.get(function, 0) + 1}
        if function == "predict":
            _note_batches(invocation, [json.loads(message.body) for message in messages])

    def _acknowledge(self, queue: MessageQueue, done: list[Message], invocation: Invocation) -> None:
        simulation = self.simulation
        for message in done:
            lost = simulation.faulty and simulation.random.random() < simulation.faults.deliveries / 4
            if lost and not simulation.crowded:
                simulation.tell("the acknowledgement is lost")
                invocation.disturbed += 1
                continue
            self.world.sqs.remove(queue, message.receipt)

    def _invoke(
        self, function: str, freeze_seconds: float, timeout_seconds: float, body: Callable[[], None]
    ) -> Invocation:
        simulation = self.simulation
        invocation = simulation.invoke(function, freeze_seconds, timeout_seconds, body)
        if function in self.world.scenario.doomed and simulation.faulty and simulation.random.random() < 0.9:
            invocation.calls_left = simulation.random.randint(0, self.world.scenario.doomed_calls)
        return invocation

    def _call(
        self, function: str, event: dict[str, Any], invocation: Invocation, kind: EventType
    ) -> set[str] | None:
        """Call a handler with records as Lambda does; return which failed, None where all of them did."""
        module = HANDLERS[function]
        # Each sandbox has a processor of its own, where here all of them share a process.
        processor = BatchProcessor(event_type=kind)
        module.__dict__["processor"] = processor
        try:
            answer = module.handler(event, Context(function, invocation))
        except Exception as error:
            if not processor.exceptions:
                self.fail(error)
            return None
        finally:
            for _, raised, _ in processor.exceptions:
                self.fail(raised)
        failures = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        return failures if "" not in failures else None

    # The stream

    def on_item(self, _old: Item | None, new: Item | None) -> None:
        for function in _STREAMED if new is not None else ():
            assert new is not None
            if not deployed.passes(deployed.stream(function).pattern, deployed.as_record(new)):
                continue
            self._numbers += 1
            waiting = self.streams.setdefault((function, new["pk"]), [])
            waiting.append(StreamRecord(self.simulation.now, new, self._numbers))
            self._busy += 1
            if len(waiting) == 1:
                begin = partial(self._stream, function, new["pk"], 1)
                self.simulation.after(self.simulation.random.random(), begin)

    def _stream(self, function: str, upload: str, attempt: int) -> None:
        """An upload's records one after the other, each until it goes well or is given up."""
        described, simulation = deployed.stream(function), self.simulation
        record = self.streams[function, upload][0]
        if attempt > described.attempts or simulation.now - record.moment > described.max_age_seconds:
            self.unheard.add(upload)
            simulation.tell("a stream record is given up")
            return self._next_record(function, upload)
        answered: list[bool] = []

        def answer(well: bool) -> None:
            if answered:
                return  # too late: it counted as failed when its time was over
            answered.append(well)
            if well:
                return self._next_record(function, upload)
            simulation.after(min(2.0**attempt, 60), partial(self._stream, function, upload, attempt + 1))

        def body() -> None:
            failures: set[str] | None = None
            try:
                event = {"Records": [_streamed(record)]}
                failures = self._call(function, event, invocation, EventType.DynamoDBStreams)
                if failures and not described.says_which_failed:
                    failures = set()
            finally:
                self._busy -= 1
                answer(failures is not None and not failures)

        timeout = deployed.timeout(f"{function.title()}Function")
        self._busy += 1
        invocation = self._invoke(function, timeout, timeout, body)
        simulation.after(timeout, partial(answer, False))

    def _next_record(self, function: str, upload: str) -> None:
        self.streams[function, upload].pop(0)
        self._busy -= 1
        if self.streams[function, upload]:
            self.simulation.after(0, partial(self._stream, function, upload, 1))
        for listener in self.stream_ended:
            listener(upload)

    # Functions that a schedule or a person calls

    def sweep(self, task: str) -> None:
        timeout = self.world.scenario.sweep_timeout or deployed.timeout("SweepFunction")
        self._call_once("sweep", json.loads(task), 300, timeout)

    def retry(self, upload: str, attempt: str) -> None:
        """`PUT /uploads/{upload}/attempts/{attempt}`."""
        path = f"/v1/uploads/{upload}/attempts/{attempt}"
        event = {"pathParameters": {"upload": upload, "attempt": attempt}, "requestContext": {"path": path}}
        self._call_once("retry", event, 30, deployed.timeout("RetryFunction"))

    def cancel(self, upload: str) -> None:
        """`POST /uploads/{upload}/cancel`."""
        self._withdraw("POST", upload, f"/v1/uploads/{upload}/cancel")

    def delete(self, upload: str) -> None:
        """`DELETE /uploads/{upload}`."""
        self._withdraw("DELETE", upload, f"/v1/uploads/{upload}")

    def _withdraw(self, method: str, upload: str, path: str) -> None:
        event = {
            "httpMethod": method,
            "pathParameters": {"upload": upload},
            "requestContext": {"path": path},
        }
        self._call_once("withdraw", event, 30, deployed.timeout("WithdrawFunction"))

    def _call_once(self, function: str, event: dict[str, Any], freeze: float, timeout: float) -> None:
        def body() -> None:
            try:
                answer = HANDLERS[function].handler(event, Context(function, invocation))
                known = (200, 202, 404, 409, 410) if function == "withdraw" else (200, 202, 409, 410)
                if answer.get("statusCode", 200) not in known:
                    self.unexpected.append(f"{function} answers {answer['statusCode']}: {answer['body']}")
            except Exception as error:
                self.fail(error)
            finally:
                self._busy -= counted

        counted = function != "sweep"  # which is called for as long as there is a stack
        self._busy += counted
        invocation = self._invoke(function, freeze, timeout, body)

    def fail(self, error: BaseException | None) -> None:
        """An invocation fails, only by a fault of the simulation or an error of its own."""
        self.failed += 1
        self.simulation.tell(f"failed: {type(error).__name__}: {error}")
        if not isinstance(error, (ClientError, BotoCoreError, ProtlocError)):
            self.unexpected.append(f"{type(error).__name__}: {error}")

    @property
    def at_work(self) -> bool:
        """True if an invocation runs that is no sweep, or a change in the stream waits."""
        return self._busy > 0


class Context:
    """The context that an invocation has."""

    memory_limit_in_mb = 512

    def __init__(self, function: str, invocation: Invocation) -> None:
        self._invocation = invocation
        self.function_name = f"stack-{function}"
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:123456789012:function:stack-{function}"
        self.aws_request_id = invocation.name

    def get_remaining_time_in_millis(self) -> int:
        return max(int(1_000 * (self._invocation.ends - self._invocation.now)), 0)


def _note_batches(invocation: Invocation, batches: list[dict[str, Any]]) -> None:
    invocation.records = len(batches)
    for batch in batches:
        invocation.subjects.add((batch["upload"], batch_key(batch["shard"], batch["batch"])))
        progress = batch.get("progress", {})
        few = progress.get("most", math.inf) < len(batch["proteins"])
        invocation.resumes |= bool(progress.get("suspects")) or few


def _delivered(message: Message, queue: MessageQueue) -> dict[str, Any]:
    """A message as Lambda hands it on, as in `events/queue-event.json`."""
    return {
        "messageId": message.identity,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": str(message.receives)},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:{queue.name}",
        "awsRegion": "us-east-1",
    }


def _streamed(record: StreamRecord) -> dict[str, Any]:
    """A change as Lambda hands it on, as in `events/finishing-stream-event.json`."""
    image = {name: _serialize(value) for name, value in record.image.items()}
    return {
        "eventID": str(record.number),
        "eventName": "MODIFY",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": int(record.moment),
            "Keys": {name: image[name] for name in ("pk", "sk")},
            "NewImage": image,
            "SequenceNumber": str(record.number),
            "StreamViewType": "NEW_IMAGE",
        },
    }
