"""Still more ways to break the functions: mistakes that change no count, but a name, a line, an order, a turn or a cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from heapq import merge
from itertools import groupby
from typing import Any

from functions import complete, predict, receive, split
from functions.domain import upload_record
from functions.domain.rows import exported
from functions.domain.upload import Source, attempted_numbers, require_records
from functions.domain.upload_record import Marker, ShardRecord, UploadRecord
from functions.services import dynamodb, queues, s3, uploads_table
from functions.services import predictions_table as predictions
from functions.services.queues import Queue
from functions.services.s3 import Storage, StreamWriter
from functions.services.uploads_table import UploadsTable

Replaced = tuple[Any, str, Any]

# Rows


def _line_in_its_shard(row: Any, _first_line: int | None) -> Any:
    return exported(row, 0)


def _one_line_more(
    self: UploadsTable, shard: Any, batches: int, lines: int, records: int, residues: int, left_out: int = 0
) -> None:
    _record_split(self, shard, batches, lines + 1, records, residues, left_out)


_record_split = UploadsTable.record_split


def _lines_that_are_known(shard: ShardRecord, first_line: int | None) -> int | None:
    return (first_line or 0) + shard.lines


def _oldest_rows(upload: UploadRecord, shards: Any, aws: Any) -> Iterator[Any]:
    for first in range(upload.shards):
        numbers = attempted_numbers(first, upload.attempts)
        attempted = [complete._shard_rows(upload.upload_id, shards[number], aws) for number in numbers]
        for _, rows in groupby(merge(*attempted, key=complete._offset), key=complete._offset):
            yield exported(next(rows), 0)


def _offset_as_it_is(upload_id: str, shard: int, row: Any, expires: int) -> Any:
    return _item(upload_id, shard, row, expires) | {"sk": str(row["offset"])}


_item = predictions._item


def _organism_at_first(self: UploadsTable, upload_id: str, **values: str) -> UploadRecord:
    return self.get(upload_id) if "organism" in values else _pin(self, upload_id, **values)


_pin = UploadsTable.pin


# Uploads


def _found_in_every_attempt(upload: UploadRecord, shards: Any) -> dict[str, int]:
    records = sum(shard.records for shard in shards.values())
    residues = sum(shard.residues for shard in shards.values())
    return _progress_of(upload, shards) | {"records_found": records, "residues_found": residues}


_progress_of = complete.progress_of


def _new_records_only(
    self: UploadsTable, shard: Any, batches: int, lines: int, records: int, residues: int, left_out: int = 0
) -> None:
    done = sum(marker.counts.records for marker in self.done_batches(shard.upload_id, shard.number).values())
    _record_split(self, shard, batches, lines, max(records - done, 0), residues, left_out)


def _announce_the_first(upload: UploadRecord, aws: Any) -> None:
    first = {name: key.replace(f"attempt-{upload.attempts}/", "") for name, key in upload.results.items()}
    _announce(replace(upload, results=first), aws)


_announce = complete._announce


def _announced_before(*arguments: Any, remove: Any = (), **rest: Any) -> bool:
    """Begin an attempt whose end was announced with the one before."""
    return dynamodb.update(*arguments, remove=[name for name in remove if name != "announced"], **rest)


def _deadline_of_the_first(self: UploadsTable, upload_id: str, attempt: int, _deadline: int) -> bool:
    return _retry(self, upload_id, attempt, self.get(upload_id).deadline)


_retry = UploadsTable.retry


# Turns


def _with_a_text_only(self: UploadsTable, _most: int) -> int:
    return sum(upload.status != "receiving" for upload in self.open_uploads())


def _ungrouped(self: Queue, message: dict[str, Any], delay_seconds: int = 0) -> None:
    self.client.send_message(QueueUrl=self.url, MessageBody=queues._dump(message), DelaySeconds=delay_seconds)


def _full_by_number(self: UploadsTable, upload_id: str) -> None:
    upload = self.get(upload_id)
    if upload.status == "running" and len(upload.shards_done) >= upload.shards:
        self.set_finishing(upload_id, upload.attempts)


def _nothing_to_settle(self: UploadsTable, upload_id: str, shard: int) -> dict[int, Marker]:
    return self.done_batches(upload_id, shard)


def _from_the_beginning(self: UploadsTable, _place: dict[str, str]) -> None:
    """Search the first versions of the bucket again, each hour."""


# S3


def _left_lying(self: StreamWriter, kind: type[BaseException] | None, *rest: object) -> None:
    if kind is None:
        _end(self, kind, *rest)


_end = StreamWriter.__exit__


def _windows_that_overlap(self: Storage, source: Source, start: int, end: int) -> Iterator[bytes]:
    for first in range(start, end, s3.WINDOW_BYTES):
        last = min(first + s3.WINDOW_BYTES, end - 1)
        place = {"Bucket": source.bucket, "Key": source.key, **s3._version(source)}
        yield self.client.get_object(**place, Range=f"bytes={first}-{last}")["Body"].read()


def _one_less(records: int, most: int) -> None:
    require_records(records + 1, most)


QUIET: dict[str, tuple[Replaced, ...]] = {
    "lines are counted within their shard": ((complete, "exported", _line_in_its_shard),),
    "a shard has a line more than it has": ((UploadsTable, "record_split", _one_line_more),),
    "a part that was not read has no lines": ((complete, "_line_after", _lines_that_are_known),),
    "of a record that was retried the oldest row counts": ((complete, "_rows", _oldest_rows),),
    "offsets are sorted as words": ((predictions, "_item", _offset_as_it_is),),
    "an organism is noted by who makes the row": ((UploadsTable, "pin", _organism_at_first),),
    "records are found once more in each attempt": ((complete, "progress_of", _found_in_every_attempt),),
    "records of batches that are done are not read": ((UploadsTable, "record_split", _new_records_only),),
    "each attempt is announced with the results of the first": (
        (complete, "_announce", _announce_the_first),
    ),
    "an attempt counts as announced": ((uploads_table, "update", _announced_before),),
    "an attempt has the deadline of the first": ((UploadsTable, "retry", _deadline_of_the_first),),
    "batches are cut by the settings of the day": ((upload_record, "_packing", lambda _row: None),),
    "there is always room": ((receive, "_is_full", lambda _aws: False),),
    "who is decompressed takes no room": ((UploadsTable, "in_work_at_once", _with_a_text_only),),
    "each search of the bucket begins anew": ((UploadsTable, "keep_listing_place", _from_the_beginning),),
    "messages are in no group": ((Queue, "send", _ungrouped),),
    "a batch that waits is asked about at once": ((predict, "wait_seconds", lambda _waits: 0),),
    "an upload is full by the number of its shards": ((UploadsTable, "finish_if_full", _full_by_number),),
    "markers that nobody counted stay so": ((UploadsTable, "settle_shard", _nothing_to_settle),),
    "parts of what failed are left": ((StreamWriter, "__exit__", _left_lying),),
    "windows overlap by a byte": ((Storage, "read", _windows_that_overlap),),
    "as many records as there may be are too many": (
        (split, "require_records", _one_less),
        (complete, "require_records", _one_less),
    ),
}
