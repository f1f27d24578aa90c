"""complete: an upload whose every batch has ended becomes a result: exports, manifest, status, event.

In: the uploads table's stream, filtered to uploads that are finishing. Out: `results.tsv`, `results.jsonl`
and `manifest.json` under `results/<upload>/`, the final status, and an `UploadCompleted` event. The exports
hold exactly one row for every record, in file order, or the upload is not completed.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import tee, zip_longest
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.errors import BrokenContract
from functions.rows import FORMATS, Row, exported, load_part
from functions.services import Services, services
from functions.storage import StreamWriter
from functions.tables import Item, now_iso
from functions.upload import Counts, Ending, part_key, result_key
from functions.views import progress_of

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)

EXPORTS = {"tsv": "text/tab-separated-values", "jsonl": "application/jsonl"}


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
        shards = aws.uploads.shards(upload_id)
        batches = aws.uploads.results_of(upload_id, shards)
        counts = sum((each for shard in batches.values() for each in shard.values()), Counts())
        reasons = (item.get("reason"), *(shard.get("abandoned") for shard in shards.values()))
        status, reason = verdict(counts, next(filter(None, reasons), ""), item.get("damage", ""))
        results = _write_results(item, _rows(item, shards, batches, aws), counts, status, reason, aws)
        ending = Ending(status, reason, counts, progress_of(item, shards), results)
        aws.uploads.finish(upload_id, ending)
        metrics.add_metric("UploadsCompleted", MetricUnit.Count, 1)
        item = aws.uploads.item(upload_id)
    if item["status"] not in ("receiving", "running") and "announced" not in item:
        _announce(item, aws)
        aws.uploads.set_announced(upload_id)


def verdict(counts: Counts, reason: str, damage: str) -> tuple[str, str]:
    """The final status of an upload and why.

    >>> verdict(Counts(records=3, predicted=2, rejected=1), "", "")
    ('complete', '')
    """
    if not counts.records:
        return "failed", reason or "the file holds no records"
    if counts.failed:
        share = f"{counts.failed:,} of {counts.records:,} records could not be predicted"
        return ("partial" if counts.predicted + counts.rejected else "failed"), reason or share
    if damage:
        return "partial", f"{damage}; the records before were read"
    return ("partial" if reason else "complete"), reason


def _write_results(
    item: Item, rows: Iterator[Row], counts: Counts, status: str, reason: str, aws: Services
) -> dict[str, str]:
    """Write the exports and the manifest; return where each is. Raises BrokenContract on a wrong count."""
    upload_id = item["pk"]
    keys = {name: result_key(upload_id, f"results.{name}") for name in EXPORTS}
    counted = _Counted(rows)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(StreamWriter(aws.storage, keys[name], content_type))
            for name, content_type in EXPORTS.items()
        ]
        # Every part is read once: the formats take their copies of the rows in step.
        texts = [FORMATS[name](copy) for name, copy in zip(EXPORTS, tee(counted, len(EXPORTS)), strict=True)]
        for pieces in zip_longest(*texts, fillvalue=b""):
            for writer, piece in zip(writers, pieces, strict=True):
                writer.write(piece)
        if counted.count != counts.records:
            raise BrokenContract(f"{upload_id}: {counts.records} records are counted, {counted.count} stored")
    results = {name: f"s3://{aws.storage.bucket}/{key}" for name, key in keys.items()}
    key = result_key(upload_id, "manifest.json")
    manifest = {
        "upload": upload_id,
        "source": item["source"],
        "bytes": item["size"],
        "status": status,
        "reason": reason,
        "model_version": item["model_version"],
        "created": item["created"],
        "finished": now_iso(),
        **counts._asdict(),
        "results": results,
    }
    aws.storage.write(key, [json.dumps(manifest, indent=2).encode()], "application/json")
    return results | {"manifest": f"s3://{aws.storage.bucket}/{key}"}


class _Counted:
    """Counts rows as they pass."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


def _rows(
    item: Item, shards: dict[int, Item], batches: dict[int, dict[int, Counts]], aws: Services
) -> Iterator[Row]:
    """Every row of the upload in file order, one shard in memory at a time."""
    upload_id = item["pk"]
    first_line = 0
    for number in range(item.get("shards", 0)):
        if len(batches[number]) != shards[number]["batches"]:
            found = f"{len(batches[number])} of {shards[number]['batches']}"
            raise BrokenContract(f"{upload_id}: shard {number} is finishing with {found} batches")
        rows: list[Row] = []
        for batch in sorted(batches[number]):
            rows += load_part(aws.storage.get(part_key(upload_id, number, batch)))
        rows.sort(key=lambda row: int(row["offset"]))
        for row in rows:
            yield exported(row, first_line)
        first_line += shards[number]["lines"]


def _announce(item: Item, aws: Services) -> None:
    """Tell EventBridge that an upload ended; told twice only if the function dies right after."""
    detail = {
        "upload": item["pk"],
        "bucket": item["source"]["bucket"],
        "key": item["source"]["key"],
        **{name: item[name] for name in ("status", "reason", "model_version", *Counts._fields, "results")},
    }
    entry = {"Source": "protloc", "DetailType": "UploadCompleted", "Detail": json.dumps(detail)}
    answer = aws.events.put_events(Entries=[entry])
    if answer["FailedEntryCount"]:
        raise BrokenContract(f"EventBridge did not take the event: {answer['Entries'][0].get('ErrorCode')}")
    logger.info("upload completed", extra={"upload": item["pk"], "status": item["status"]})
