"""More ways to break the functions or the template: mistakes that delay an upload, lose it quietly, or rely on a good day."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from functions import complete, predict, receive, split, sweep
from functions.domain.upload import Counts, Inflate, Shard, read_task, upload_id
from functions.domain.upload_record import ShardRecord, UploadRecord
from functions.services import answers_table as answers
from functions.services import dynamodb as tables
from functions.services import predictions_table as predictions
from functions.services.dynamodb import from_item, put_new, query_all
from functions.services.queues import Queue
from functions.services.s3 import Storage
from functions.services.uploads_reader import UPLOAD, batch_key, shard_key
from functions.services.uploads_table import UploadsTable
from tests.simulation import deployed

Replaced = tuple[Any, str, Any]

# Delays


def _note_and_forget(message: dict[str, Any], aws: Any) -> None:
    """Note why a file could not be received, on any row of it."""
    thing = message["detail"]["object"]
    aws.uploads.note(
        upload_id(message["detail"]["bucket"]["name"], thing["key"], thing.get("version-id")), "dead"
    )


@contextmanager
def _left_hidden(self: Queue, record: SQSRecord) -> Iterator[dict[str, Any]]:
    yield json.loads(record.body)


def _wait_longer(message: dict[str, Any], _error: Exception, aws: Any) -> None:
    aws.batches_queue.send(message, min(10 * 2 ** max(message["waits"] - 1, 0), 900))


def _never_planned(_upload: UploadRecord, _aws: Any) -> bool:
    return False


def _plan_only(upload: Any, aws: Any) -> None:
    aws.uploads.plan(upload.upload_id, upload.source, upload.size, aws.settings.shard_bytes)


def _all_but_the_last(shard: Shard, upload: Any, aws: Any) -> None:
    """Send all batches of a shard but the last one, which is sent when nothing has moved for long."""
    sent: list[Any] = []

    class Sends:
        def send(self, message: Any, delay: int = 0) -> None:
            sent.append(message)

    _split(shard, upload, replace(aws, batches_queue=Sends()))
    first = aws.uploads.shard(upload.upload_id, shard.number).batches is None
    for message in sent[:-1] if first or len(sent) > 1 else sent:
        aws.batches_queue.send(message)


_split = split.split


def _deaf_to_finishing(function: str) -> deployed.DeployedStream:
    described = _stream(function)
    if function != "complete":
        return described
    pattern = json.loads(json.dumps(described.pattern))
    pattern["dynamodb"]["NewImage"]["status"]["S"].remove("finishing")
    return replace(described, pattern=pattern)


_stream = deployed.stream


def _without_deadline(name: str, parameters: dict[str, str]) -> dict[str, str]:
    variables = _environment(name, parameters)
    return {n: v for n, v in variables.items() if (name, n) != ("RetryFunction", "DEADLINE_SECONDS")}


_environment = deployed.environment


def _note_the_model_only(upload: Any, aws: Any) -> None:
    aws.uploads.pin(upload.upload_id, model_version=aws.models.active() or "")


# Answers of handlers


def _reports_nothing(event: dict[str, Any], context: Any) -> dict[str, Any]:
    for record in event["Records"]:
        try:
            predict._record(SQSRecord(record), context)
        except Exception:
            continue
    return {"batchItemFailures": []}


def _reports_receipts(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Name a failed message by its receipt, not by its id: Lambda does not know that."""
    failures = []
    for record in event["Records"]:
        try:
            split._record(SQSRecord(record))
        except Exception:
            failures.append({"itemIdentifier": record["receiptHandle"]})
    return {"batchItemFailures": failures}


def _all_or_nothing(name: str) -> deployed.DeployedFunction:
    return replace(_function(name), says_which_failed=False)


_function = deployed.function


# S3 and DynamoDB


def _as_they_come(self: Storage, keys: Iterable[str], ahead: int) -> Iterator[bytes]:
    """Read so many objects ahead, and yield those first that came last."""
    coming: deque[bytes] = deque()
    for key in keys:
        coming.append(self.get(key))
        if len(coming) == ahead:
            while coming:
                yield coming.pop()
    while coming:
        yield coming.pop()


def _conflict_is_success(self: Storage, key: str, body: bytes) -> bytes:
    try:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] == "PreconditionFailed":
            return self.get(key)
        if error.response["Error"]["Code"] != "ConditionalRequestConflict":
            raise
    return body


def _upload_some_time_ago(self: UploadsTable, upload: str) -> UploadRecord:
    answer = self.table.get_item(Key={"pk": upload, "sk": UPLOAD})
    if "Item" not in answer:
        raise KeyError(upload)
    return UploadRecord.from_row(from_item(answer["Item"]))


def _shard_some_time_ago(self: UploadsTable, upload: str, shard: int) -> ShardRecord:
    answer = self.table.get_item(Key={"pk": upload, "sk": shard_key(shard)})
    return ShardRecord.from_row(shard, from_item(answer.get("Item", {})))


def _markers_some_time_ago(self: UploadsTable, upload: str, prefix: str) -> Iterator[Any]:
    condition = Key("pk").eq(upload) & Key("sk").begins_with(prefix)
    return (item for item in query_all(self.table, KeyConditionExpression=condition) if "records" in item)


def _swallowed(resource: Any, table_name: str, items: Any) -> None:
    try:
        _put_all(resource, table_name, items)
    except ClientError:
        return


_put_all = tables.put_all


def _first_answer(resource: Any, table_name: str, keys: Any) -> Iterator[Any]:
    for group in tables._grouped(keys, 100):
        answer = resource.batch_get_item(RequestItems={table_name: {"Keys": group}})
        yield from answer["Responses"].get(table_name, [])


def _expires_at_its_deadline(name: str) -> str:
    return "deadline" if name == "UploadsTable" else _expiry(name)


_expiry = deployed.expiry


def _marker_with_offsets(
    self: UploadsTable, upload: str, shard: int, batch: int, counts: Counts, first: int
) -> None:
    """Leave a marker, and note on the upload itself which batches ended with which counts."""
    put_new(self.table, {"pk": upload, "sk": batch_key(shard, batch), "first": first, **counts._asdict()})
    self._update(
        upload, {f"batch_{shard:05d}_{batch:05d}_ended_with_these_counts_of_records": counts._asdict()}
    )
    self.settle_batch(upload, shard, batch)


# Clocks, time and releases


def _too_late_to_matter(message: dict[str, Any], aws: Any, seconds_left: Any = None) -> None:
    """Drop a message past its deadline: another gives it up."""
    if tables.now_seconds() <= aws.uploads.get(message["upload"]).deadline:
        _predict(message, aws, *([] if seconds_left is None else [seconds_left]))


_predict = predict.predict


def _newest_by_the_clock(self: UploadsTable, upload: UploadRecord, shard: int) -> bool:
    """Take a message for one of an earlier attempt if the clock says so."""
    recorded = self.shard(upload.upload_id, shard)
    if (recorded.updated or upload.updated) > tables.now_seconds() + 5:
        return False
    return upload.status == "running" and recorded.kept is None


def _progress_is_there(message: dict[str, Any], aws: Any, *rest: Any) -> None:
    if message["waits"] and message["progress"] is None:
        return
    _predict(message, aws, *rest)


def _first_is_there(upload: str, shard: ShardRecord, aws: Any) -> Iterator[Any]:
    for marker in aws.uploads._markers(upload, f"batch#{shard.number:05d}#"):
        _ = marker["first"]
    return _shard_rows(upload, shard, aws)


_shard_rows = complete._shard_rows


def _done_before_sent(shard: Shard, upload: Any, aws: Any) -> None:
    """Count a shard's batches first, so that a function timed out while sending never sends the others."""
    if aws.uploads.shard(upload.upload_id, shard.number).batches is not None and not shard.give_up:
        return
    sent: list[Any] = []

    class Sends:
        def send(self, message: Any, delay: int = 0) -> None:
            sent.append(message)

    _split(shard, upload, replace(aws, batches_queue=Sends()))
    for message in sent:
        aws.batches_queue.send(message)


# `sweep`


def _removed_first(aws: Any, _failures: Any) -> int:
    buried = 0
    for queue, end in (
        (aws.batches_dead_letters, sweep._fail_batch),
        (aws.shards_dead_letters, sweep._fail_shard),
        (aws.uploads_dead_letters, sweep._fail_upload),
    ):
        for message, receipt in queue.drain(sweep.DEAD_LETTERS_A_RUN):
            queue.delete(receipt)
            end(message, aws)
            buried += 1
    return buried


def _every_record_again(shards: dict[int, ShardRecord]) -> int:
    return sum(shard.records for shard in shards.values())


def _again_and_again(upload: UploadRecord, aws: Any) -> bool:
    """Send a running upload's shards in every run, in case one was lost."""
    if upload.status == "running":
        for shard in sweep._unfinished(upload):
            aws.shards_queue.send(shard.as_message())
    return _move(upload, aws)


_move = sweep.move


def _only_recorded(message: dict[str, Any], aws: Any) -> None:
    """Give up at once the rest of a shard that could not be read."""
    shard = read_task(message)
    if not isinstance(shard, Inflate):
        aws.uploads.abandon_shard(replace(shard, give_up="dead"), sweep.DEAD_SHARD)


DELAYS: dict[str, tuple[Replaced, ...]] = {
    "a dead event is thrown away": ((sweep, "_fail_upload", _note_and_forget),),
    "a delivery that failed stays hidden": ((Queue, "delivery", _left_hidden),),
    "a batch waits for a quarter of an hour": ((predict, "_wait", _wait_longer),),
    "shards of a file that went away are not sent": ((receive, "_send_planned", _never_planned),),
    "shards are planned, and left to the sweep": ((receive, "_send_shards", _plan_only),),
    "the last batch of a shard is left to the sweep": ((split, "split", _all_but_the_last),),
    "the stream leaves out what is finishing": ((deployed, "stream", _deaf_to_finishing),),
    "retries are not told their deadline": ((deployed, "environment", _without_deadline),),
    "an upload whose model came is left to the sweep": ((receive, "_wait", _note_the_model_only),),
    "failed records are not reported": ((predict, "handler", _reports_nothing),),
    "failed records are reported by their receipts": ((split, "handler", _reports_receipts),),
    "the template does not ask which records failed": ((deployed, "function", _all_or_nothing),),
    "parts are merged as they come": ((Storage, "get_each", _as_they_come),),
    "a conflict of two writers is taken for success": ((Storage, "put_once", _conflict_is_success),),
    "an upload is read without consistency": ((UploadsTable, "get", _upload_some_time_ago),),
    "a shard is read without consistency": ((UploadsTable, "shard", _shard_some_time_ago),),
    "markers are read without consistency": ((UploadsTable, "_markers", _markers_some_time_ago),),
    "a batch write that failed is taken for done": (
        (predictions, "put_all", _swallowed),
        (answers, "put_all", _swallowed),
    ),
    "keys that were not read are taken for unknown": ((answers, "get_all", _first_answer),),
    "uploads expire at their deadline": ((deployed, "expiry", _expires_at_its_deadline),),
    "an upload's item grows with its batches": ((UploadsTable, "record_batch", _marker_with_offsets),),
    "a batch past its deadline is dropped": ((predict, "predict", _too_late_to_matter),),
    "the clock tells which attempt is newer": ((UploadsTable, "is_in_work", _newest_by_the_clock),),
    "a message of the release before is refused": ((predict, "predict", _progress_is_there),),
    "a marker of the release before is refused": ((complete, "_shard_rows", _first_is_there),),
    "a shard's batches are counted before they are sent": ((split, "split", _done_before_sent),),
    "a dead letter is removed before its end": ((sweep, "bury", _removed_first),),
    "the records of a retry count once more": (
        (split, "records_read", _every_record_again),
        (complete, "records_read", _every_record_again),
    ),
    "every run sends what is in work again": ((sweep, "move", _again_and_again),),
    "a dead shard is given up at once": ((sweep, "_fail_shard", _only_recorded),),
}
