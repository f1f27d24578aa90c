"""Queues and events, where the engine could lose or misplace a message and AWS would not.

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
    """Keep every waiting time as it was when the clock takes a step."""
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

    Objects are on disk at once, their events only with the next save: events lost to `kill -9` are sent
    again. S3 delivers at least once, so a consumer knows how to take the same event twice.
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
