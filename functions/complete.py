"""complete: an upload whose every batch has ended becomes a result: exports, manifest, status, event.

In: the uploads table's stream, filtered to uploads that are finishing. Out: `results.tsv`, `results.jsonl`,
`report.html` and `manifest.json` under `results/<upload>/`, the final status, and an `UploadCompleted` event.
The exports hold exactly one row for every record, in file order, or the upload is not completed; the report
holds the rows of an upload that is not too long for a browser, and the sums of any.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from heapq import heappop, heappush, merge
from itertools import groupby, tee, zip_longest
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import BrokenContract, InputError
from functions.domain.remarks import Doubts
from functions.domain.rows import FORMATS, Row, exported, load_part
from functions.domain.upload import (
    FINAL_STATUSES,
    MAX_SHARDS,
    Counts,
    Ending,
    attempt_of,
    attempts,
    part_key,
    progress_of,
    records_read,
    require_records,
    result_key,
)
from functions.http import model_view
from functions.page.report import CONTENT_TYPE, report
from functions.services import Services, services
from functions.services.dynamodb import Item, now_iso
from functions.services.s3 import StreamWriter

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)

EXPORTS = {  # the file of each result that is made of the rows, and its type
    "tsv": ("results.tsv", "text/tab-separated-values"),
    "jsonl": ("results.jsonl", "application/jsonl"),
    "report": ("report.html", CONTENT_TYPE),
}


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    return process_partial_response(event=event, record_handler=_record, processor=processor, context=context)


def _record(record: DynamoDBRecord) -> None:
    if record.dynamodb and record.dynamodb.keys:
        complete(record.dynamodb.keys["pk"], services())


def complete(upload_id: str, aws: Services) -> None:
    """Complete an upload, once; a second time only what the first left undone."""
    item = aws.uploads.item(upload_id)
    if item["status"] == "finishing":
        shards = aws.uploads.begun_shards(item)
        counts = aws.uploads.counts(upload_id, shards)
        reason = item.get("reason") or _unread(item, shards)
        status, reason = verdict(counts, reason, item.get("damage", ""))
        reason = "; ".join(filter(None, (reason, left_out(item, shards))))
        results, warnings = dict[str, str](), list[str]()
        try:
            # A shard that was given up because of that counts with what was read of it, not what was done.
            require_records(max(counts.records, records_read(shards)), aws.settings.max_records)
        except InputError as error:
            status, reason = "failed", str(error)
        else:
            results, warnings = _write_results(item, shards, counts, status, reason, aws)
        ending = Ending(status, reason, counts, progress_of(item, shards), results, warnings)
        aws.uploads.finish(upload_id, attempts(item), ending)
        # UploadsComplete, UploadsPartial or UploadsFailed
        metrics.add_metric(f"Uploads{status.capitalize()}", MetricUnit.Count, 1)
        item = aws.uploads.item(upload_id)
    if item["status"] in FINAL_STATUSES and "announced" not in item:
        _announce(item, aws)
        aws.uploads.set_announced(upload_id, attempts(item))


def _unread(item: Item, shards: dict[int, Item]) -> str:
    """Return why a part of the file was not read, at first or in this attempt; empty where all of it was."""
    telling = (1, attempts(item))
    return next(
        (shard["unread"] for n, shard in shards.items() if "unread" in shard and attempt_of(n) in telling), ""
    )


def left_out(item: Item, shards: dict[int, Item]) -> str:
    """Says what was not read because it is no FASTA: files of an archive, text before the first record."""
    letters = 0
    for _, shard in sorted(shards.items()):
        letters += shard.get("left_out", 0)
        if shard.get("records"):
            break
    before = f"{letters:,} characters of text before the first record were left out" if letters else ""
    return "; ".join(filter(None, (before, item.get("left_out", ""))))


def verdict(counts: Counts, reason: str, damage: str) -> tuple[str, str]:
    """The final status of an upload, and everything that speaks against it: what was not read, the failures,
    the damage of its file.

    >>> verdict(Counts(records=3, predicted=2, rejected=1), "", "")
    ('complete', '')
    >>> verdict(Counts(records=3, predicted=2, failed=1), "", "the gzip stream is cut off")[1]
    '1 of 3 records could not be predicted; the gzip stream is cut off; the records before were read'
    >>> verdict(Counts(records=2, predicted=2), "a part was not read", "the gzip stream is cut off")
    ('partial', 'a part was not read; the gzip stream is cut off')
    """
    if not counts.records:
        return "failed", reason or "the file holds no records"
    reasons = [reason] if reason else []
    if counts.failed and not reason:
        reasons.append(f"{counts.failed:,} of {counts.records:,} records could not be predicted")
    if damage:
        reasons.append(damage if reason else f"{damage}; the records before were read")
    status = "partial" if reasons else "complete"
    if counts.failed and not counts.predicted + counts.rejected:
        status = "failed"
    return status, "; ".join(reasons)


def _write_results(
    item: Item, shards: dict[int, Item], counts: Counts, status: str, reason: str, aws: Services
) -> tuple[dict[str, str], list[str]]:
    """Write the exports and the manifest; return where each is, and what the rows warn of.

    Raises BrokenContract on a wrong count.
    """
    upload_id = item["pk"]
    attempt = attempts(item)
    keys = {name: result_key(upload_id, file, attempt) for name, (file, _) in EXPORTS.items()}
    results = {name: f"s3://{aws.storage.bucket}/{key}" for name, key in keys.items()}
    manifest = {
        "upload": upload_id,
        "source": item["source"],
        "bytes": item["size"],
        "status": status,
        "reason": reason,
        "model_version": item["model_version"],
        "attempts": attempt,
        "created": item["created"],
        "finished": now_iso(),
        **counts._asdict(),
        "results": results,
    }
    rows = _Counted(_rows(item, shards, aws))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(StreamWriter(aws.storage, keys[name], content_type))
            for name, (_, content_type) in EXPORTS.items()
        ]
        # Every part is read once: the formats take their copies of the rows in step.
        copies = dict(zip(EXPORTS, tee(rows, len(EXPORTS)), strict=True))
        texts = [FORMATS[name](copies[name]) for name in EXPORTS if name in FORMATS]
        texts.append(report(copies["report"], manifest | {"key": item["source"]["key"]}, _model(item, aws)))
        for pieces in zip_longest(*texts, fillvalue=b""):
            for writer, piece in zip(writers, pieces, strict=True):
                writer.write(piece)
        if rows.count != counts.records:
            raise BrokenContract(f"{upload_id}: {counts.records} records are counted, {rows.count} stored")
    manifest |= {"finished": now_iso(), "warnings": rows.doubts.warnings()}
    key = result_key(upload_id, "manifest.json", attempt)
    aws.storage.write(key, [json.dumps(manifest, indent=2).encode()], "application/json")
    return results | {"manifest": f"s3://{aws.storage.bucket}/{key}"}, rows.doubts.warnings()


def _model(item: Item, aws: Services) -> dict[str, Any] | None:
    """The model version that answered an upload, as the API shows it; None where it is not known any more."""
    found = aws.models.get(item["model_version"]) if item["model_version"] else None
    return model_view(found, None) if found else None


class _Counted:
    """Counts rows, and the doubts that they carry, as they pass."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.count = 0
        self.doubts = Doubts()

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            self.doubts.count(row)
            yield row


def _rows(item: Item, shards: dict[int, Item], aws: Services) -> Iterator[Row]:
    """Every row of the upload in file order, and of a record that was retried the newest."""
    first_line = 0
    for first in range(item.get("shards", 0)):
        numbers = range(first, attempts(item) * MAX_SHARDS, MAX_SHARDS)
        attempted = [_shard_rows(item["pk"], number, shards[number]["batches"], aws) for number in numbers]
        for _, rows in groupby(merge(*attempted, key=_offset), key=_offset):
            *_, newest = rows
            yield exported(newest, first_line)
        first_line += shards[first]["lines"]


def _shard_rows(upload_id: str, number: int, expected: int, aws: Services) -> Iterator[Row]:
    """The rows of one shard in file order.

    A part is read when its first row is due, so no more of them are in memory than overlap: those of one
    window of packing, however large the shard.
    """
    batches = aws.uploads.result_batches(upload_id, number)
    if len(batches) != expected:
        found = f"{len(batches)} of {expected}"
        raise BrokenContract(f"{upload_id}: shard {number} is finishing with {found} batches")
    waiting: list[tuple[int, int, int, Row]] = []
    due = sorted((marker.get("first", 0), batch) for batch, marker in batches.items())
    parts = aws.storage.get_each(
        (part_key(upload_id, number, batch) for _, batch in due), aws.settings.parts_ahead
    )
    for (first, batch), part in zip(due, parts, strict=True):
        while waiting and waiting[0][0] < first:
            yield heappop(waiting)[-1]
        for index, row in enumerate(load_part(part)):
            heappush(waiting, (_offset(row), batch, index, row))
    while waiting:
        yield heappop(waiting)[-1]


def _offset(row: Row) -> int:
    return int(row["offset"])


def _announce(item: Item, aws: Services) -> None:
    """Tell EventBridge that an upload ended; told twice only if the function dies right after."""
    detail = {
        "upload": item["pk"],
        "bucket": item["source"]["bucket"],
        "key": item["source"]["key"],
        "attempts": attempts(item),
        **{name: item[name] for name in ("status", "reason", "model_version", *Counts._fields, "results")},
        "warnings": item.get("warnings", []),
    }
    entry = {"Source": "protloc", "DetailType": "UploadCompleted", "Detail": json.dumps(detail)}
    answer = aws.events.put_events(Entries=[entry])
    if answer["FailedEntryCount"]:
        raise BrokenContract(f"EventBridge did not take the event: {answer['Entries'][0].get('ErrorCode')}")
    logger.info("upload completed", extra={"upload": item["pk"], "status": item["status"]})
