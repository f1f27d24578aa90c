"""Queues and streams, where the engine could lose or misplace a record and AWS would not.

Shares the engine's private names with `engine` and `repairs`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from protloc.cloud.engine.functions import endings
from protloc.cloud.engine.messages import give_back
from protloc.cloud.engine.names import module
from protloc.cloud.lambdas import lineage

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
IDLE_SECONDS = 0.25

log = logging.getLogger("protloc.cloud")


def queues_lose_no_message(changed: Callable[[], None]) -> None:
    """The engine rebuilds a list of messages while another thread appends to the old one: one at a time."""
    lock = threading.RLock()
    queues = module("ministack.services.sqs")

    def alone(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def locked(*arguments: Any, **named: Any) -> Any:
            with lock:
                result = call(*arguments, **named)
            if call.__name__ == "_delete_messages_for_esm":
                changed()  # the one change of a queue that no request and no function's end shows
            return result

        return locked

    places = {
        queues: (
            "_act_send_message",
            "_act_delete_message",
            "_act_delete_message_batch",
            "_expire_retained",
            "_collect_msgs",
            "_dlq_sweep",
            "_receive_messages_for_esm",
            "_delete_messages_for_esm",
        ),
        module("ministack.services.eventbridge"): ("_dispatch_to_sqs",),
        module("ministack.services.sns"): ("_deliver_to_sqs",),
        module("ministack.services.s3"): ("_deliver_event_to_sqs",),
        module("ministack.services.lambda_svc"): ("_send_ddb_stream_failure_record",),
    }
    for holder, names in places.items():
        for name in names:
            before = getattr(holder, name)
            after = alone(before)
            setattr(holder, name, after)
            for table in (vars(holder).get("_HANDLERS", {}),):
                for action, handler in list(table.items()):
                    if handler is before:
                        table[action] = after


def deliveries_come_back(
    delivers: Callable[[], bool], look: Callable[[], object], changed: Callable[[], None]
) -> None:
    """A message whose worker died comes back at once, and a kill is no delivery of it.

    On AWS it would stay hidden for the queue's visibility timeout; here it is known that no worker has it.
    The same holds where the cloud itself took nothing more, and while it does not, nothing is delivered.
    `look` notices a step of the clock, before a hidden message seems to be due.
    """
    queues, functions = module("ministack.services.sqs"), module("ministack.services.lambda_svc")
    receive, run = queues._receive_messages_for_esm, functions._run_sqs_batch

    def receive_if(queue_url: str, max_number: int) -> Any:
        look()
        return receive(queue_url, max_number) if delivers() else []

    def run_noted(*arguments: Any) -> None:
        _, _, _, batch, queue_url, _ = arguments
        handles = {message["receipt_handle"] for message in batch}
        ended: list[str] = []
        token = endings.set(ended)
        try:
            run(*arguments)
        finally:
            endings.reset(token)
            if ended or not delivers():
                forgiven = "exited" not in ended
                if give_all_back(queues._queues.get(queue_url), handles, forgiven):
                    changed()
                functions._esm_wake.set()

    queues._receive_messages_for_esm = receive_if
    functions._run_sqs_batch = run_noted


def give_all_back(queue: dict[str, Any] | None, handles: set[str], forgiven: bool) -> int:
    """Give back the messages of a queue that were given away under these receipts; return how many."""
    messages = [
        message for message in (queue or {"messages": []})["messages"] if message["receipt_handle"] in handles
    ]
    for message in messages:
        give_back(message, forgiven)
    return len(messages)


def move_along(seconds: float) -> None:
    """Have what waits for a moment wait as long as before a step of the clock."""
    queues, functions = module("ministack.services.sqs"), module("ministack.services.lambda_svc")
    before = time.time() - seconds
    for queue in list(queues._queues._data.values()):
        for message in list(queue["messages"]):
            if message["visible_at"] > before:
                message["visible_at"] += seconds
    for mapping, until in list(functions._esm_backoff_until.items()):
        functions._esm_backoff_until[mapping] = until + seconds
    fired = module("ministack.services.scheduler")._schedule_last_fired
    for schedule, moment in list(fired._data.items()):
        fired._data[schedule] = moment + seconds
    functions._esm_wake.set()


def announce_again(since: float) -> None:
    """Send the "Object Created" event of every version written after `since` once more.

    Objects are on disk at once, their events only with the next save: what `kill -9` took is sent again. S3
    delivers at least once, so a consumer knows how to take the same event twice.
    """
    storage = module("ministack.services.s3")
    for (_, (bucket, key)), versions in list(storage._object_versions._data.items()):
        if "EventBridgeConfiguration" not in (storage._bucket_notifications.get(bucket) or ""):
            continue
        for version in versions:
            written = datetime.fromisoformat(version["last_modified"]).timestamp()
            if written >= since and not version.get("is_delete_marker"):
                storage._fire_s3_event_async(
                    bucket,
                    key,
                    "s3:ObjectCreated:Put",
                    size=version["size"],
                    etag=version["etag"],
                    version_id=version["version_id"],
                )


def functions_may_be_allowed_to_loop() -> None:
    """A function's `RecursiveLoop` in the template is its setting; without one Lambda stops loops."""
    provisioners = module("ministack.services.cloudformation.provisioners")
    kind = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    functions = module("ministack.services.lambda_svc")
    create, update = kind["create"], kind["update"]

    def settle(made: Any, properties: dict[str, Any]) -> Any:
        functions._functions[made[0]]["recursive_loop"] = properties.get("RecursiveLoop", "Terminate")
        return made

    def create_set(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        return settle(create(logical_id, properties, stack), properties)

    def update_set(physical_id: str, old: dict[str, Any], new: dict[str, Any], *rest: Any) -> Any:
        return settle(update(physical_id, old, new, *rest), new)

    kind["create"], kind["update"] = create_set, update_set


def messages_keep_the_trace_of_their_sender() -> None:
    """SQS keeps the trace header of the request that sent a message, as its attribute `AWSTraceHeader`.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-enabling-tracing.html
    """
    queues = module("ministack.services.sqs")
    send = queues._act_send_message

    def send_traced(data: dict[str, Any], qurl: str) -> Any:
        trace, named = lineage.of_request.get(), data.get("MessageSystemAttributes") or {}
        if trace and "AWSTraceHeader" not in named:
            header = {"DataType": "String", "StringValue": trace}
            data = {**data, "MessageSystemAttributes": {**named, "AWSTraceHeader": header}}
        return send(data, qurl)

    queues._act_send_message = send_traced
    queues._HANDLERS["SendMessage"] = send_traced


class Streams:
    """Event source mappings of DynamoDB streams, a thread each: in order, at least once, with AWS's ways out.

    A failed batch is tried again from its first failed record; after `MaximumRetryAttempts`, or when the
    record is older than `MaximumRecordAgeInSeconds`, the rest of the batch goes to the failure destination.
    """

    def __init__(
        self, serving: threading.Event, delivers: Callable[[], bool], changed: Callable[[], None]
    ) -> None:
        self._serving, self._delivers, self._changed = serving, delivers, changed
        self._lambda = module("ministack.services.lambda_svc")
        self._tables = module("ministack.services.dynamodb")
        self._lambda._poll_dynamodb_streams = lambda: False
        self._busy: set[str] = set()
        self._tries: dict[str, int] = {}
        self._ends: dict[str, int] = {}  # where the batch that is tried again ends
        threading.Thread(target=self._watch, daemon=True, name="streams").start()

    def _watch(self) -> None:
        """Give every mapping that has something to read a thread."""
        self._serving.wait()
        while True:
            for _, _, mapping in self._lambda._iter_all_esms() if self._delivers() else ():
                identity = mapping["UUID"]
                table = self._table(mapping)
                if (
                    identity not in self._busy
                    and table
                    and mapping.get("Enabled", True)
                    and self._read(mapping, table)[1]
                ):
                    self._busy.add(identity)
                    threading.Thread(
                        target=self._run, args=(mapping, table), daemon=True, name="stream"
                    ).start()
            self._lambda._esm_wake.wait(IDLE_SECONDS)
            time.sleep(IDLE_SECONDS / 5)

    def _run(self, mapping: dict[str, Any], table: str) -> None:
        try:
            while self._lambda._esms.get(mapping["UUID"]) is mapping and mapping.get("Enabled", True):
                position, records = self._read(mapping, table)
                if not records or not self._delivers():
                    return
                self._step(mapping, position, records)
        except Exception:
            log.exception("reading the stream of %s failed; trying again", table)
        finally:
            self._busy.discard(mapping["UUID"])

    def _step(self, mapping: dict[str, Any], position: int, records: list[dict[str, Any]]) -> None:
        identity = mapping["UUID"]
        function, _ = self._lambda._get_func_record_for_qualifier(
            mapping["FunctionName"], mapping.get("Qualifier")
        )
        matching = self._lambda._apply_filter_criteria(records, mapping)
        if function is None:
            time.sleep(IDLE_SECONDS)
            return
        first = 0
        if matching:
            ended: list[str] = []
            token = endings.set(ended)
            try:
                result = self._lambda._execute_function(function, {"Records": matching})
            finally:
                endings.reset(token)
            failed = first_failed(mapping, result, matching)
            if failed is not None and ("killed" in ended or not self._delivers()):
                time.sleep(IDLE_SECONDS)  # no try of the function's own
                return
            if failed is not None:
                first = next(i for i, record in enumerate(records) if _number(record) == failed)
                if not self._gives_up(mapping, identity, records[first]):
                    self._ends[identity] = position + len(records)
                    self._advance(identity, position + first)
                    time.sleep(BACKOFF_SECONDS[min(self._tries[identity], len(BACKOFF_SECONDS)) - 1])
                    return
                rest = [record for record in matching if record in records[first:]]
                log.warning(
                    "%s failed for the last time; %d records given up", mapping["FunctionName"], len(rest)
                )
                condition = "RetryAttemptsExhausted"
                source = mapping["EventSourceArn"]
                self._lambda._send_ddb_stream_failure_record(
                    mapping, function, rest, source, result, condition
                )
        self._tries.pop(identity, None)
        self._ends.pop(identity, None)
        self._advance(identity, position + len(records))

    def _gives_up(self, mapping: dict[str, Any], identity: str, record: dict[str, Any]) -> bool:
        self._tries[identity] = self._tries.get(identity, 0) + 1
        retries, age = mapping.get("MaximumRetryAttempts", -1), mapping.get("MaximumRecordAgeInSeconds", -1)
        created = float(record["dynamodb"].get("ApproximateCreationDateTime", time.time()))
        too_old = age is not None and int(age) > 0 and time.time() - created > int(age)
        return too_old or (retries is not None and 0 <= int(retries) < self._tries[identity])

    def _table(self, mapping: dict[str, Any]) -> str | None:
        """The table whose present stream the mapping reads."""
        source = mapping.get("EventSourceArn", "")
        if ":dynamodb:" not in source or "/stream/" not in source:
            return None
        name = str(source.split("/stream/")[0].rsplit("/", 1)[-1])
        table = self._tables._tables.get(name) or {}
        return name if table.get("LatestStreamArn") == source else None

    def _read(self, mapping: dict[str, Any], table: str) -> tuple[int, list[dict[str, Any]]]:
        start = self._tables.stream_start_position(table)
        with self._lambda._dynamodb_stream_positions_lock:
            positions = self._lambda._dynamodb_stream_positions
            if mapping["UUID"] not in positions:
                horizon = mapping.get("StartingPosition") == "TRIM_HORIZON"
                positions[mapping["UUID"]] = start if horizon else self._tables.stream_end_position(table)
            position = max(start, positions[mapping["UUID"]])
        size = min(
            int(mapping.get("BatchSize", 100)), self._ends.get(mapping["UUID"], position + 10_000) - position
        )
        return position, self._tables.stream_records_since(table, position, size)

    def _advance(self, identity: str, position: int) -> None:
        with self._lambda._dynamodb_stream_positions_lock:
            self._lambda._dynamodb_stream_positions[identity] = position
        self._changed()


def first_failed(mapping: dict[str, Any], result: dict[str, Any], wanted: list[dict[str, Any]]) -> str | None:
    """The sequence number from which a batch must be tried again, None when all of it was handled."""
    if result.get("error") or result.get("throttle"):
        return _number(wanted[0])
    if "ReportBatchItemFailures" not in (mapping.get("FunctionResponseTypes") or []):
        return None
    body = result.get("body")
    reported = {str(item.get("itemIdentifier")) for item in (body or {}).get("batchItemFailures") or []}
    if not reported:
        return None
    return next((_number(record) for record in wanted if _number(record) in reported), _number(wanted[0]))


def _number(record: dict[str, Any]) -> str:
    return str(record["dynamodb"]["SequenceNumber"])
