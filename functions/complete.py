"""complete: an upload whose every batch has ended becomes a result: exports, manifest, status, event.

In: the uploads table's stream, filtered to uploads that are finishing. Out: `results.tsv`, `results.jsonl`,
`report.html` and `manifest.json` under `results/<upload>/`, the final status, and an `UploadCompleted` event.
The exports hold exactly one row for every record, in file order, or the upload is not completed; the report
holds the rows of an upload that is not too long for a browser, and the sums of any.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from heapq import heappop, heappush, merge
from itertools import groupby, tee, zip_longest
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import BrokenContract, InputError
from functions.domain.remarks import Doubts, text_left_out
from functions.domain.rows import FORMATS, Row, columns_of, exported, load_part
from functions.domain.upload import (
    FINAL_STATUSES,
    Counts,
    Ending,
    attempt_of,
    attempted_numbers,
    part_key,
    require_records,
    result_key,
)
from functions.domain.upload_record import ShardRecord, Shards, UploadRecord, progress_of, records_read
from functions.http import model_view
from functions.page.report import CONTENT_TYPE, report
from functions.services import Services, services
from functions.services.dynamodb import now_iso
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
    """Complete an upload, once; a second call does only the steps that the first left undone."""
    upload = aws.uploads.get(upload_id)
    if upload.status == "finishing":
        shards = aws.uploads.begun_shards(upload)
        counts = aws.uploads.counts(upload_id, shards)
        status, reason = _verdict_on(upload, shards, counts)
        results, warnings = dict[str, str](), left_out(upload, shards)
        try:
            # A shard that was given up because of that counts with the records read of it, not with those
            # done.
            require_records(max(counts.records, records_read(shards)), aws.settings.max_records)
        except InputError as error:
            status, reason = "cancelled" if upload.cancelled else "failed", str(error)
        else:
            results, warnings = _write_results(upload, shards, counts, status, reason, warnings, aws)
        ending = Ending(status, reason, counts, progress_of(upload, shards), results, warnings)
        aws.uploads.finish(upload_id, upload.attempts, ending)
        # UploadsComplete, UploadsPartial or UploadsFailed
        metrics.add_metric(f"Uploads{status.capitalize()}", MetricUnit.Count, 1)
        upload = aws.uploads.get(upload_id)
    if upload.status in FINAL_STATUSES and not upload.announced:
        _announce(upload, aws)
        aws.uploads.set_announced(upload_id, upload.attempts)


def _verdict_on(upload: UploadRecord, shards: Shards, counts: Counts) -> tuple[str, str]:
    unread = _unread(upload, shards)
    if not upload.cancelled:
        return verdict(counts, upload.reason or unread, upload.damage)
    if not upload.shards:
        return "cancelled", upload.reason
    return "cancelled", cancelled_reason(counts, unread, upload.damage)


def cancelled_reason(counts: Counts, unread: str, damage: str) -> str:
    """Says how far a cancelled upload had come.

    >>> cancelled_reason(Counts(records=3, predicted=1, failed=2), "", "")
    'cancelled; 2 of 3 records have no answer'
    >>> cancelled_reason(Counts(records=3, predicted=3), "", "")
    'cancelled when every record had ended'
    """
    answered = f"cancelled; {counts.failed:,} of {counts.records:,} records have no answer"
    first = answered if counts.failed or unread else "cancelled when every record had ended"
    return "; ".join(part for part in (first, unread, damage) if part)


def _unread(upload: UploadRecord, shards: Shards) -> str:
    """Return why a part of the file was not read, at first or in this attempt; empty where all of it was."""
    telling = (1, upload.attempts)
    return next((s.unread for n, s in shards.items() if s.unread and attempt_of(n) in telling), "")


def left_out(upload: UploadRecord, shards: Shards) -> list[str]:
    """Names the parts that are no FASTA: files of an archive, text before the first record."""
    letters = 0
    for _, shard in sorted(shards.items()):
        letters += shard.left_out
        if shard.records:
            break
    return [*text_left_out(letters), *([upload.left_out] if upload.left_out else [])]


def verdict(counts: Counts, reason: str, damage: str) -> tuple[str, str]:
    """The final status of an upload, and every reason for doubt: the parts that were not read, the failures,
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
    upload: UploadRecord,
    shards: Shards,
    counts: Counts,
    status: str,
    reason: str,
    warnings: list[str],
    aws: Services,
) -> tuple[dict[str, str], list[str]]:
    """Write the exports and the manifest; return the key of each, and the warnings with those of the rows.

    Raises BrokenContract on a wrong count.
    """
    name_of = partial(result_key, upload.upload_id, attempt=upload.attempts)
    keys = {name: name_of(file) for name, (file, _) in EXPORTS.items()}
    manifest = {
        "upload": upload.upload_id,
        "source": upload.source._asdict(),
        "bytes": upload.size,
        "status": status,
        "reason": reason,
        "model_version": upload.model_version,
        "attempts": upload.attempts,
        "created": upload.created,
        "finished": upload.finished or now_iso(),
        **counts._asdict(),
        "results": aws.storage.uris(keys),
        "warnings": warnings,
        **({"labels": upload.labels.own} if upload.labels.own else {}),
    }
    rows = _Counted(_rows(upload, shards, aws))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(StreamWriter(aws.storage, keys[name], content_type))
            for name, (_, content_type) in EXPORTS.items()
        ]
        # Every part is read once: the formats take their copies of the rows in step.
        copies = dict(zip(EXPORTS, tee(rows, len(EXPORTS)), strict=True))
        columns = columns_of(upload.labels)
        texts = [FORMATS[name](copies[name], columns) for name in EXPORTS if name in FORMATS]
        view = manifest | {"key": upload.source.key}
        texts.append(report(copies["report"], view, _model(upload, aws)))
        for pieces in zip_longest(*texts, fillvalue=b""):
            for writer, piece in zip(writers, pieces, strict=True):
                writer.write(piece)
        if rows.count != counts.records:
            raise BrokenContract(
                f"{upload.upload_id}: {counts.records} records are counted, {rows.count} stored"
            )
    warnings = [*warnings, *rows.doubts.warnings()]
    manifest["warnings"] = warnings
    keys["manifest"] = name_of("manifest.json")
    aws.storage.write(keys["manifest"], [json.dumps(manifest, indent=2).encode()], "application/json")
    return keys, warnings


def _model(upload: UploadRecord, aws: Services) -> dict[str, Any] | None:
    """The model version that answered an upload, as the API shows it; None where it is not known any more."""
    item = aws.models.get(upload.model_version) if upload.model_version else None
    return model_view(item, None) if item else None


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


def _rows(upload: UploadRecord, shards: Shards, aws: Services) -> Iterator[Row]:
    """Every row of the upload in file order, and of a record that was retried the newest."""
    first_line: int | None = 0
    for first in range(upload.shards):
        numbers = attempted_numbers(first, upload.attempts)
        attempted = [_shard_rows(upload.upload_id, shards[number], aws) for number in numbers]
        for _, rows in groupby(merge(*attempted, key=_offset), key=_offset):
            *_, newest = rows
            yield exported(newest, first_line)
        first_line = _line_after(shards[first], first_line)


def _line_after(shard: ShardRecord, first_line: int | None) -> int | None:
    """The lines up to a shard's end; None from the first one on whose lines nobody has counted."""
    unknown = first_line is None or (shard.kept is not None and not shard.lines)
    return None if unknown else (first_line or 0) + shard.lines


def _shard_rows(upload_id: str, shard: ShardRecord, aws: Services) -> Iterator[Row]:
    """The rows of one shard in file order.

    A part is read when its first row is due, so no more of them are in memory than overlap: those of one
    window of packing, however large the shard.
    """
    batches = aws.uploads.result_batches(upload_id, shard.number)
    if len(batches) != shard.batches:
        raise BrokenContract(
            f"{upload_id}: shard {shard.number} is finishing with {len(batches)} of {shard.batches} batches"
        )
    waiting: list[tuple[int, int, int, Row]] = []
    due = sorted((marker.first, batch) for batch, marker in batches.items())
    parts = aws.storage.get_each(
        (part_key(upload_id, shard.number, batch) for _, batch in due), aws.settings.parts_ahead
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


def _announce(upload: UploadRecord, aws: Services) -> None:
    """Tell EventBridge that an upload ended; told twice only if the function dies right after."""
    detail = {
        "upload": upload.upload_id,
        "bucket": upload.source.bucket,
        "key": upload.source.key,
        "attempts": upload.attempts,
        "status": upload.status,
        "reason": upload.reason,
        "model_version": upload.model_version,
        **upload.counts._asdict(),
        "results": aws.storage.uris(upload.results),
        "warnings": upload.warnings,
    }
    entry = {"Source": "protloc", "DetailType": "UploadCompleted", "Detail": json.dumps(detail)}
    response = aws.events.put_events(Entries=[entry])
    if response["FailedEntryCount"]:
        code = response["Entries"][0].get("ErrorCode")
        raise BrokenContract(f"EventBridge did not take the event: {code}")
    logger.info("upload completed", extra={"upload": upload.upload_id, "status": upload.status})
