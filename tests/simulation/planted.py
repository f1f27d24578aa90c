"""Ways to break the functions, each a mistake that is easily made: the simulation must catch every one.

A mistake is a few replaced functions; `test_simulation.py` says which seed catches it first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from boto3.dynamodb.conditions import Attr

from functions import complete, predict, split, sweep
from functions.domain.bisection import Bisection
from functions.domain.errors import EndpointRefused, EndpointTimedOut
from functions.domain.fasta import LineCount
from functions.domain.prediction import Unpredictable
from functions.domain.protein import read_protein
from functions.domain.rows import dump_part, predicted_row
from functions.domain.upload import Shard, Upload, first_shard, part_key
from functions.domain.upload_record import UploadRecord
from functions.services import answers_table as answers
from functions.services import dynamodb as tables
from functions.services import endpoint, uploads_reader, uploads_table
from functions.services import predictions_table as predictions
from functions.services.batch_end import count_rows, record_rows
from functions.services.predictions_table import PredictionsTable
from functions.services.s3 import Storage
from functions.services.uploads_reader import batch_key, shard_key
from functions.services.uploads_table import UploadsTable
from tests.simulation import deployed
from tests.simulation.planted_delays import DELAYS
from tests.simulation.planted_quietly import QUIET
from tests.simulation.planted_withdrawals import WITHDRAWALS

Replaced = tuple[Any, str, Any]  # object, its attribute, the replacement

_predict, _open_batch = predict.predict, UploadsTable.open_batch
_record_split, _pack = UploadsTable.record_split, split.pack


# Counting


def _add_one(self: UploadsTable, upload_id: str, shard: int, batch: int) -> None:
    self._update(upload_id, sort_key=shard_key(shard), add={"counted": 1})
    self.close_shard(upload_id, shard)


def _close_by_number(self: UploadsTable, upload_id: str, shard: int) -> None:
    item = self._item(upload_id, shard_key(shard)) or {}
    if "batches" in item and item.get("counted", 0) >= item["batches"]:
        self._update(upload_id, add={"shards_done": {shard}})
        self.finish_if_full(upload_id)


def _finish_full_or_not(self: UploadsTable, upload_id: str) -> None:
    if self.get(upload_id).status == "running":
        self.set_finishing(upload_id, self.get(upload_id).attempts)


def _done_is_done(message: dict[str, Any], aws: Any, *rest: Any) -> None:
    if not aws.uploads.batch_is_done(message["upload"], message["shard"], message["batch"]):
        _predict(message, aws, *rest)


def _marked_without_tail(
    self: UploadsTable, upload_id: str, shard: int, batch: int, counts: Any, first: int
) -> None:
    marker = {"pk": upload_id, "sk": batch_key(shard, batch), "first": first, **counts._asdict()}
    if tables.put_new(self.table, marker):
        self.settle_batch(upload_id, shard, batch)


def _abandon_what_is_on_its_way(self: UploadsTable, shard: Shard, reason: str) -> None:
    done = self.done_batches(shard.upload_id, shard.number)
    _record_split(self, shard, len(done), 0, 0, 0)


# The order of writes


def _acknowledge_first(record: Any, lambda_context: Any) -> None:
    aws = predict.services()
    with aws.batches_queue.delivery(record) as message:
        aws.batches_queue.delete(record.receipt_handle)
        predict.predict(message, aws)


def _first(rows: Any) -> int:
    return min(int(row["offset"]) for row in rows)


def _mark_before_part(upload: Upload, shard: int, batch: int, rows: Any, aws: Any) -> Any:
    aws.uploads.record_batch(upload.upload_id, shard, batch, count_rows(rows), _first(rows))
    return record_rows(upload, shard, batch, rows, aws)


def _mark_before_rows(upload: Upload, shard: int, batch: int, rows: Any, aws: Any) -> Any:
    counts = count_rows(rows)
    aws.storage.put_once(part_key(upload.upload_id, shard, batch), dump_part(rows))
    aws.uploads.record_batch(upload.upload_id, shard, batch, counts, _first(rows))
    if upload.indexed:
        aws.predictions.put(upload.upload_id, shard, rows)
    return counts


def _own_rows_whatever_stands(upload: Upload, shard: int, batch: int, rows: Any, aws: Any) -> Any:
    counts = count_rows(rows)
    aws.storage.put_once(part_key(upload.upload_id, shard, batch), dump_part(rows))
    if upload.indexed:
        aws.predictions.put(upload.upload_id, shard, rows)
    aws.uploads.record_batch(upload.upload_id, shard, batch, counts, _first(rows))
    return counts


def _recorded_is_sent(shard: Shard, upload: Upload, aws: Any) -> None:
    """Record a shard, then send its batches; a shard that is recorded needs nothing more."""
    if aws.uploads.shard(upload.upload_id, shard.number).batches is not None:
        return
    lines = LineCount()
    batches = list(_pack(split._judged(shard, lines, aws), aws.settings.packing))
    records = sum(len(batch.proteins) + len(batch.rejections) for batch in batches)
    aws.uploads.record_split(shard, len(batches), lines.lines, records, 0)
    for batch in batches:
        if batch.rejections or shard.give_up:
            split._end_here(batch, shard, upload, aws)
        else:
            aws.batches_queue.send(split.batch_message(batch, shard, upload))


def _note_announced_first(upload: UploadRecord, aws: Any) -> None:
    aws.uploads.set_announced(upload.upload_id, upload.attempts)
    _announce(upload, aws)


_announce = complete._announce


def _close_at_once(self: UploadsTable, upload_id: str, attempt: int, ending: Any) -> bool:
    ended = _finish(self, upload_id, attempt, ending)
    self._update(upload_id, remove=["open"])
    return ended


_finish = UploadsTable.finish


# Permissions


def _lease_that_expires(self: UploadsTable, upload_id: str, shard: int, batch: int) -> bool:
    now = tables.now_seconds()
    lease = f"lease#{shard:05d}#{batch:05d}"
    free = Attr("expires").not_exists() | Attr("expires").lt(now)
    return not self._update(upload_id, {"expires": now + 900}, free, sort_key=lease)


def _put_over(self: Storage, key: str, body: bytes) -> bytes:
    self.client.put_object(Bucket=self.bucket, Key=key, Body=body)
    return body


def _model_of_the_day(self: UploadsTable, upload_id: str, shard: int, batch: int) -> UploadRecord | None:
    upload = _open_batch(self, upload_id, shard, batch)
    return upload and replace(upload, model_version=predict.services().models.active() or "")


def _as_if_not_cancelled(self: UploadsTable, upload_id: str, shard: int, batch: int) -> UploadRecord | None:
    upload = _open_batch(self, upload_id, shard, batch)
    return upload and replace(upload, cancelled=False)


def _end_again(self: UploadsTable, upload_id: str, _attempt: int, ending: Any) -> bool:
    final = {**ending._asdict(), **ending.counts._asdict(), "finished": tables.now_iso()}
    del final["counts"]
    return self._update(upload_id, final)


def _note_always(self: UploadsTable, upload_id: str, reason: str) -> None:
    self._update(upload_id, {"reason": reason})


# Leftovers of services


def _put_once_each(resource: Any, table_name: str, items: Any) -> None:
    for group in tables._grouped(items, 25):
        resource.batch_write_item(
            RequestItems={table_name: [{"PutRequest": {"Item": item}} for item in group]}
        )


def _first_page(table: Any, **query: Any) -> Iterator[Any]:
    yield from table.query(**query)["Items"]


def _wait_by_failing(_message: Any, error: Exception, _aws: Any) -> None:
    raise error


# Order of answers


def _without_version(bucket: str, key: str, version_id: str | None) -> str:
    return _upload_id(bucket, key, None)


_upload_id = uploads_table.upload_id


def _any_version(_model_version: str) -> str:
    return "answer"


_ask = Bisection._ask


def _in_another_order(self: Bisection, names: list[str]) -> bool:
    well = _ask(self, names)
    if well and len(names) > 1:
        self.answered |= {names[0]: self.answered[names[1]], names[1]: self.answered[names[0]]}
    return well


def _guilty_at_once(self: Bisection) -> dict[str, Any]:
    """Each alone where they fail together, and the first failure is the verdict."""
    names = list(self._sequences)
    for group in (names, *([name] for name in names)):
        asked = [self._sequences[name] for name in group]
        try:
            answers = self._call(asked)
        except EndpointRefused as error:
            self.answered |= {name: Unpredictable(str(error)) for name in group}
        else:
            self.answered |= zip(group, answers, strict=True)
            if group is names:
                break
    return self.answered


def _damage_of_the_last_shard(records: Any, damage: str, lines: LineCount, size: int) -> Iterator[Any]:
    return map(read_protein, records)


def _cut_by_the_clock(records: Any, settings: Any) -> Any:
    return _pack(records, replace(settings, batch_proteins=1 + tables.now_seconds() % 4))


def _whatever_the_checksums(body: bytes, **arguments: Any) -> list[Any]:
    try:
        answer = json.loads(body)
        for each in answer["predictions"]:
            each.pop("checksum", None)
    except (ValueError, TypeError, KeyError):
        return _read_answer(body, **arguments)
    return _read_answer(json.dumps(answer).encode(), **arguments)


_read_answer = endpoint.read_answer


# Attempts


def _any_batch(self: UploadsTable, upload_id: str, shard: int) -> dict[int, Any]:
    return self.done_batches(upload_id, shard)


def _first_attempt_only(shard: int) -> range:
    return range(first_shard(shard), min(shard, first_shard(shard) + 1))


def _all_but_the_first(shard: Shard, aws: Any) -> set[int]:
    return set(sorted(_failed_before(shard, aws))[1:])


_failed_before = split._failed_before


def _put_failed_over(self: PredictionsTable, item: Any, attempt: int) -> None:
    self.table.put_item(Item=item | {"attempt": attempt})


# Time


def _wait_at_the_first_slow_one(self: Bisection) -> None:
    if len(self._asked) <= 1:
        raise EndpointTimedOut
    self._most = len(self._asked) // 2


def _in_their_order(self: Bisection) -> list[str]:
    return [n for n in self._sequences if n not in self.answered and n not in self._refused]


def _all_failed(proteins: Any, reason: str, upload: Any, _answers: Any) -> list[Any]:
    return [predicted_row(protein, Unpredictable(reason), upload) for protein in proteins]


# Limits of the template


def _never_in_a_loop(name: str) -> deployed.DeployedFunction:
    return replace(_function(name), may_loop=False)


_function = deployed.function


# Results that cannot be written


def _moved_for_ever(upload: UploadRecord, aws: Any) -> None:
    aws.uploads.call_again(upload.upload_id)


def _moved_if_young(upload: UploadRecord, aws: Any) -> bool:
    overdue = tables.now_seconds() - upload.updated > aws.settings.overdue_seconds
    if upload.status == "finishing" and overdue:
        sweep._end_unwritten(upload, aws)
        return True
    return _move(upload, aws)


_move = sweep.move


PLANTED: dict[str, tuple[Replaced, ...]] = {
    "batches are counted by an atomic counter": (
        (UploadsTable, "settle_batch", _add_one),
        (UploadsTable, "close_shard", _close_by_number),
    ),
    "an upload is complete with its first shard": ((UploadsTable, "finish_if_full", _finish_full_or_not),),
    "a batch that has its marker needs no tail": ((predict, "predict", _done_is_done),),
    "only who wrote the marker does the tail": ((UploadsTable, "record_batch", _marked_without_tail),),
    "a shard is abandoned while its batches are on their way": (
        (UploadsTable, "abandon_shard", _abandon_what_is_on_its_way),
    ),
    "a delivery is acknowledged before its work": ((predict, "_record", _acknowledge_first),),
    "the marker comes before the part": (
        (predict, "record_rows", _mark_before_part),
        (split, "record_rows", _mark_before_part),
    ),
    "the marker comes before the rows": (
        (predict, "record_rows", _mark_before_rows),
        (split, "record_rows", _mark_before_rows),
    ),
    "a late writer counts its own rows, not those that stand": (
        (predict, "record_rows", _own_rows_whatever_stands),
        (sweep, "record_rows", _own_rows_whatever_stands),
        (split, "record_rows", _own_rows_whatever_stands),
    ),
    "a shard that is recorded counts as sent": ((split, "split", _recorded_is_sent),),
    "an upload is noted as announced before it is": ((complete, "_announce", _note_announced_first),),
    "an upload that ended is closed before it is announced": ((UploadsTable, "finish", _close_at_once),),
    "a lease that expires stands for the marker": ((UploadsTable, "batch_is_done", _lease_that_expires),),
    "a part is overwritten by a late writer": ((Storage, "put_once", _put_over),),
    "the model version is read again, not pinned": ((UploadsTable, "open_batch", _model_of_the_day),),
    "a cancelled upload asks the model on": ((UploadsTable, "open_batch", _as_if_not_cancelled),),
    "an upload that ended may end again": ((UploadsTable, "finish", _end_again),),
    "why an upload waits may be noted at any time": ((UploadsTable, "note", _note_always),),
    "what a batch write leaves undone is ignored": (
        (predictions, "put_all", _put_once_each),
        (answers, "put_all", _put_once_each),
    ),
    "a query ends with its first page": ((uploads_reader, "query_all", _first_page),),
    "a wait counts as a failed delivery": ((predict, "_wait", _wait_by_failing),),
    "an upload's id leaves the object's version out": (
        (uploads_table, "upload_id", _without_version),
        (sweep, "upload_id", _without_version),
    ),
    "known answers are shared by model versions": ((answers, "_sort_key", _any_version),),
    "answers come back in another order": ((Bisection, "_ask", _in_another_order),),
    "the first failure is a protein's own": ((Bisection, "answers", _guilty_at_once),),
    "the record a damaged file stops in is taken for whole": (
        (split, "_with_damaged_end", _damage_of_the_last_shard),
    ),
    "batches depend on the time they are cut at": ((split, "pack", _cut_by_the_clock),),
    "checksums are not looked at": ((endpoint, "read_answer", _whatever_the_checksums),),
    "an attempt ends another one": ((uploads_table, "same_attempt", lambda _attempt: Attr("pk").exists()),),
    "what ends after its shard was abandoned belongs to the result": (
        (UploadsTable, "result_batches", _any_batch),
    ),
    "a retry asks again for what an earlier one answered": ((split, "earlier_shards", _first_attempt_only),),
    "a retry leaves a failed record as it is": ((split, "_failed_before", _all_but_the_first),),
    "a failure is put over an answer": ((PredictionsTable, "_put_failed", _put_failed_over),),
    "results that cannot be written are tried for ever": ((sweep, "_end_unwritten", _moved_for_ever),),
    "results are given up before the deadline": ((sweep, "move", _moved_if_young),),
    "a time-out is the protein's own": ((endpoint, "_TIMED_OUT", ()),),
    "nobody looks at the time before a call": ((endpoint, "CALL_SECONDS", -math.inf),),
    "a slow protein holds up those beside it": (
        (Bisection, "_ask_for_less", _wait_at_the_first_slow_one),
        (Bisection, "_rest", _in_their_order),
    ),
    "who gives a batch up forgets its answers": (
        (split, "ended_rows", _all_failed),
        (sweep, "ended_rows", _all_failed),
    ),
    "no function is allowed to loop": ((deployed, "function", _never_in_a_loop),),
    **DELAYS,
    **QUIET,
    **WITHDRAWALS,
}


@contextmanager
def planted(mistake: str) -> Iterator[None]:
    """The functions with one mistake in them."""
    with ExitStack() as patches:
        for owner, name, replacement in PLANTED[mistake]:
            patches.enter_context(patch.object(owner, name, replacement))
        yield
