"""The stack of the template in memory: real handlers, and what calls them on AWS."""

from __future__ import annotations

import inspect
import json
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import BotoCoreError, ClientError

from functions import complete, predict, receive, retry, split, sweep
from functions.answers import AnswersTable
from functions.cursors import Cursors
from functions.endpoint import Endpoint
from functions.errors import ProtlocError
from functions.models import ModelsTable
from functions.predictions import PredictionsTable
from functions.queues import Queue
from functions.services import Services
from functions.settings import Settings
from functions.storage import Storage
from functions.upload import upload_id
from functions.uploads import UploadsTable, batch_key
from tests.simulation import deployed
from tests.simulation.database import Database, Item
from tests.simulation.messages import Message, MessageQueue, MessageService
from tests.simulation.model import EventBus, ModelRuntime
from tests.simulation.objects import ObjectStore, Version
from tests.simulation.scenario import File, Scenario
from tests.simulation.scheduler import Invocation, Killed, Simulation

QUEUES = ("Uploads", "Shards", "Batches")
MAX_ROUNDS = 16
"""How often Lambda invokes a function for one event: https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"""
_sweep = inspect.unwrap(sweep.handler)


class World:
    """One stack and everything that happens to it."""

    def __init__(self, simulation: Simulation, scenario: Scenario) -> None:
        self.simulation, self.scenario = simulation, scenario
        self.s3 = ObjectStore(simulation)
        self.s3.buckets = {"uploads": {}, "results": {}}
        self.sqs = MessageService(simulation, simulation.random)
        self.database = Database(simulation)
        self.bus = EventBus(simulation, scenario.weather)
        self.runtime = ModelRuntime(simulation, scenario.weather)
        for name in ("UploadsTable", "PredictionsTable", "AnswersTable", "ModelsTable"):
            self.database.create(name, *deployed.table(name)).page_items = scenario.page_items
        self.queues: dict[str, MessageQueue] = {}
        for name in QUEUES:
            dead = self._queue(f"{name}DeadLetters", None)
            self._queue(f"{name}Queue", dead)
        self.services = self._services()
        self.buried: list[tuple[str, str]] = []  # queue, body
        self.files: dict[tuple[str, str], File] = {}  # by key and version
        self.unheard = 0
        self.unexpected: list[str] = []
        self.running: Counter[str] = Counter()  # invocations by function, but for the sweeps
        self._taken: Counter[str] = Counter()  # of a function's concurrency
        self._streams: dict[str, list[float]] = {}
        self.sqs.listeners.append(self._on_message)
        self.bus.listeners.append(self._on_end)
        self.s3.listeners.append(self._on_object)
        self.database.tables["UploadsTable"].listeners.append(self._on_item)

    def _queue(self, name: str, dead_letters: MessageQueue | None) -> MessageQueue:
        made = deployed.queue(name)
        self.queues[name] = self.sqs.create(
            MessageQueue(
                name, made.visibility_seconds, made.retention_seconds, made.max_receives, dead_letters
            )
        )
        return self.queues[name]

    def _services(self) -> Services:
        def queue(name: str) -> Queue:
            return Queue(self.sqs, name)  # type: ignore[arg-type]

        database: Any = self.database
        texts = {name: "" for name, kind in Settings.__annotations__.items() if kind is str}
        return Services(
            settings=Settings(
                **texts | {"stack": "stack", "uploads_bucket": "uploads", "results_bucket": "results"},
                packing=self.scenario.packing,
                **self.scenario.settings,
            ),
            uploads=UploadsTable(database.Table("UploadsTable")),
            predictions=PredictionsTable(database, "PredictionsTable", 1),
            answers=AnswersTable(database, "AnswersTable", 1),
            models=ModelsTable(database.Table("ModelsTable")),
            storage=Storage(self.s3, "results"),  # type: ignore[arg-type]
            uploads_queue=queue("UploadsQueue"),
            shards_queue=queue("ShardsQueue"),
            batches_queue=queue("BatchesQueue"),
            uploads_dead_letters=queue("UploadsDeadLetters"),
            shards_dead_letters=queue("ShardsDeadLetters"),
            batches_dead_letters=queue("BatchesDeadLetters"),
            endpoint=Endpoint(self.runtime, "stack"),  # type: ignore[arg-type]
            cursors=Cursors(lambda: b"a secret"),
            events=self.bus,
            s3=self.s3,  # type: ignore[arg-type]
        )

    # What happens from outside

    def begin(self) -> None:
        simulation = self.simulation
        simulation.faults = self.scenario.faults
        for file in self.scenario.files:
            simulation.after(file.seconds, partial(self._upload, file))
        for seconds, version in self.scenario.promotions:
            simulation.after(seconds, partial(self._promote, version))
        simulation.after(simulation.random.uniform(0, 60), self._every_minute)
        simulation.after(simulation.random.uniform(0, 3600), self._every_hour)

    def _upload(self, file: File) -> None:
        version = self.s3.put_object(Bucket="uploads", Key=file.key, Body=file.body)["VersionId"]
        self.files[file.key, version] = file
        if file.gone_at_read is not None:
            self.s3.readings_left[file.key, version] = file.gone_at_read - 1
        if file.unwritable:
            self.s3.refused.add(f"results/{upload_id('uploads', file.key, version)}/")
        self.simulation.tell(f"uploads {file.key} as {version}, {len(file.body)} bytes; event {file.event}")
        detail = {
            "bucket": {"name": "uploads"},
            "object": {"key": file.key, "size": len(file.body), "version-id": version},
        }
        for _ in range({"lost": 0, "sent": 1, "repeated": 2}[file.event]):
            send = partial(self.sqs.put, self.queues["UploadsQueue"], json.dumps({"detail": detail}))
            self.simulation.after(self.simulation.random.uniform(0, 5), send)
        if file.deleted_after is not None:
            remove = partial(self.s3.delete_object, Bucket="uploads", Key=file.key, VersionId=version)
            self.simulation.after(file.deleted_after, remove)
        if file.hidden_after is not None:
            hide = partial(self.s3.delete_object, Bucket="uploads", Key=file.key)
            self.simulation.after(file.hidden_after, hide)

    def _promote(self, version: str) -> None:
        self.simulation.tell(f"promotes {version}")
        alias = {"pk": "alias", "sk": "active", "version": version}
        self.database.Table("ModelsTable").put_item(Item=alias)

    def _on_end(self, detail: dict[str, Any]) -> None:
        """A user who is told that records failed has them tried again, some moments later."""
        if detail["failed"] and detail["attempts"] <= self.scenario.retries:
            self.running["retry"] += 1
            begin = partial(self._retry, detail["upload"], str(detail["attempts"] + 1))
            self.simulation.after(self.simulation.random.uniform(0, self.scenario.retried_within), begin)

    def _retry(self, upload: str, attempt: str) -> None:
        def body() -> None:
            try:
                retry.retry(upload, attempt, self.services)
            except Exception as error:
                self._failed(error)
            finally:
                self._leave("retry")

        self.simulation.invoke("retry", 30, body)

    # What AWS does

    def _on_message(self, queue: MessageQueue, moment: float) -> None:
        if queue.name.endswith("DeadLetters"):
            self.buried.append((queue.name, queue.messages[-1].body))
            return
        self._poll_at(queue.name, moment + self.simulation.random.random() * 0.5)

    def _poll_at(self, name: str, moment: float) -> None:
        self.simulation.at(moment, partial(self._poll, name))

    def _poll(self, name: str) -> None:
        """Lambda's poller: one invocation with what the queue has, if another may run."""
        queue, function = self.queues[name], _FUNCTIONS[name]
        described = deployed.function(f"{function.title()}Function")
        if not queue.messages or self._taken[function] >= described.concurrency:
            return
        messages = self.sqs.take(queue, self.simulation.random.randint(1, described.batch_size))
        if not messages:
            return
        faults = self.simulation.faults
        rounds = max(message.lineage.get(function, 0) for message in messages)
        if rounds >= MAX_ROUNDS and not described.may_loop:
            self.simulation.tell(f"{function} is not invoked: its {rounds + 1}th time for one event")
            return self._poll_at(name, self.simulation.now)
        if self.simulation.faulty and self.simulation.random.random() < self.scenario.expiring:
            queue.messages = [m for m in queue.messages if m.receipt != messages[0].receipt]
            self.simulation.tell(f"a message of {name} expired")
            return self._poll_at(name, self.simulation.now)
        self._start(function, queue, messages)
        if self.simulation.faulty and self.simulation.random.random() < faults.deliveries:
            self._start(function, queue, messages)  # delivered twice
        self._poll_at(name, self.simulation.now + 0.01)

    def _start(self, function: str, queue: MessageQueue, messages: list[Message]) -> None:
        record: Callable[..., None] = _RECORDS[function]._record
        timed = "lambda_context" in inspect.signature(record).parameters
        described, simulation = deployed.function(f"{function.title()}Function"), self.simulation
        ended: list[bool] = []

        def end() -> None:
            """Let another one start: when this one ends, or at its timeout if it is frozen."""
            if not ended:
                ended.append(True)
                self._taken[function] -= 1
                self._poll_at(queue.name, simulation.now)

        def body() -> None:
            done: list[Message] = []
            killed = True
            try:
                for message in messages:
                    if self._dooms(function):
                        invocation.disturbed += 1
                        raise Killed
                    try:
                        record(
                            _delivered(message), **({"lambda_context": _Context(invocation)} if timed else {})
                        )
                    except Exception as error:
                        self._failed(error)
                    else:
                        done.append(message)
                killed = False
            finally:
                self._leave(function)
                simulation.tell("died" if killed else "ended")
                end()
            for message in done:
                if simulation.faulty and simulation.random.random() < simulation.faults.deliveries / 4:
                    simulation.tell("the acknowledgement is lost")
                    invocation.disturbed += 1
                    continue
                self.sqs.remove(queue, message.receipt)

        self.running[function] += 1
        self._taken[function] += 1
        simulation.after(described.timeout_seconds, end)
        invocation = simulation.invoke(function, queue.visibility_seconds, body)
        longest = max((message.lineage for message in messages), key=lambda rounds: rounds.get(function, 0))
        invocation.lineage = {**longest, function: longest.get(function, 0) + 1}
        invocation.seconds_left = described.timeout_seconds
        if function == "predict":
            batch = json.loads(messages[0].body)
            invocation.subject = (batch["upload"], batch_key(batch["shard"], batch["batch"]))
            progress = batch.get("progress", {})
            few = progress.get("most", math.inf) < len(batch["proteins"])
            invocation.resumes = bool(progress.get("suspects")) or few

    def _dooms(self, function: str) -> bool:
        return (
            function in self.scenario.doomed
            and self.simulation.faulty
            and self.simulation.random.random() < 0.9
        )

    def _on_object(self, bucket: str, key: str, version: Version) -> None:
        if self.simulation.current is not None:
            self.simulation.tell(f"  stored {bucket}/{key} as {version.version_id}")

    def _on_item(self, _old: Item | None, new: Item) -> None:
        if deployed.passes(deployed.stream().pattern, deployed.as_record(new)):
            waiting = self._streams.setdefault(new["pk"], [])
            waiting.append(self.simulation.now)
            if len(waiting) == 1:
                self.simulation.after(self.simulation.random.random(), partial(self._stream, new["pk"], 1))

    def _stream(self, upload: str, attempt: int) -> None:
        """Lambda's poller of the stream: an upload's records one after the other, each until it goes well."""
        described, simulation = deployed.stream(), self.simulation
        over = simulation.now - self._streams[upload][0] > described.max_age_seconds
        if attempt > described.attempts or over:
            self.unheard += 1
            simulation.tell("a stream record is given up")
            return self._next_record(upload)
        said: list[bool] = []

        def answer(well: bool) -> None:
            if said:
                return  # too late: it counted as failed when its time was over
            said.append(well)
            if well:
                return self._next_record(upload)
            simulation.after(min(2.0**attempt, 60), partial(self._stream, upload, attempt + 1))

        def body() -> None:
            well = False
            try:
                if self._dooms("complete"):
                    raise Killed
                complete._record(DynamoDBRecord({"dynamodb": {"Keys": {"pk": {"S": upload}}}}))
                well = True
            except Exception as error:
                self._failed(error)
            finally:
                self._leave("complete")
                answer(well)

        timeout = deployed.function("CompleteFunction").timeout_seconds
        self.running["complete"] += 1
        simulation.invoke("complete", timeout, body)
        simulation.after(timeout, partial(answer, False))

    def _next_record(self, upload: str) -> None:
        self._streams[upload].pop(0)
        if self._streams[upload]:
            self.simulation.after(0, partial(self._stream, upload, 1))

    def _every_minute(self) -> None:
        self._sweep({"task": "stuck"})
        self.simulation.after(self.scenario.sweep_seconds, self._every_minute)

    def _every_hour(self) -> None:
        self._sweep({"task": "lost-events"})
        self.simulation.after(3600, self._every_hour)

    def _sweep(self, event: dict[str, str]) -> None:
        def body() -> None:
            try:
                _sweep(event, None)
            except Exception as error:
                self._failed(error)

        self.simulation.invoke("sweep", 300, body)

    def _leave(self, function: str) -> None:
        self.running[function] -= 1
        if not self.running[function]:
            del self.running[function]

    def _failed(self, error: Exception) -> None:
        """An invocation fails; only of what was thrown at it, or of what it says itself."""
        self.simulation.tell(f"failed: {type(error).__name__}: {error}")
        if not isinstance(error, (ClientError, BotoCoreError, ProtlocError)):
            self.unexpected.append(f"{type(error).__name__}: {error}")

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waiting, dead letters included."""
        return not any(queue.messages for queue in self.queues.values()) and not any(self._streams.values())


_FUNCTIONS = {"UploadsQueue": "receive", "ShardsQueue": "split", "BatchesQueue": "predict"}
_RECORDS: dict[str, Any] = {"receive": receive, "split": split, "predict": predict}


class _Context:
    """The context that an invocation has."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    def get_remaining_time_in_millis(self) -> float:
        return 1_000 * self._invocation.seconds_left


def _delivered(message: Message) -> SQSRecord:
    attributes = {"ApproximateReceiveCount": str(message.receives)}
    return SQSRecord({"body": message.body, "receiptHandle": message.receipt, "attributes": attributes})
