"""sweep: puts right what went wrong on the way, so that every upload ends.

In: a schedule. Every minute: dead letters become failed rows with their reason; uploads that waited for a
model version are received again; shards without progress are sent again; past its deadline, what is left of
an upload is given up. Every hour: files in the bucket whose event was lost are received.
"""

from collections.abc import Iterator
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.protein import Protein
from functions.results import record_rows
from functions.rows import failed_row
from functions.services import Services, services
from functions.tables import Item, now_seconds
from functions.upload import Shard, upload_id
from functions.uploads import attempts, planned_shards

logger = Logger()
metrics = Metrics()

DEAD_LETTERS_A_RUN = 200
LOST_AFTER_SECONDS = 600
LOST_UNTIL_SECONDS = 2 * 86_400
LABELS_PREFIX = "labels/"

DEAD_BATCH = "the batch failed again and again; the functions' log tells why"
DEAD_SHARD = "this part of the file could not be read, again and again; the functions' log tells why"
DEAD_UPLOAD = "the file could not be received, again and again; the functions' log tells why"
TOO_LATE = "not predicted before the upload's deadline"


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    aws = services()
    if event.get("task") == "lost-events":
        return {"received": receive_lost(aws)}
    return {"dead_letters": bury(aws), "moved": sum(move(item, aws) for item in aws.uploads.open_uploads())}


def bury(aws: Services) -> int:
    """Turn dead letters into ends; return how many."""
    buried = 0
    for queue, end in (
        (aws.batches_dead_letters, _fail_batch),
        (aws.shards_dead_letters, _fail_shard),
        (aws.uploads_dead_letters, _fail_upload),
    ):
        for message, receipt in queue.drain(DEAD_LETTERS_A_RUN):
            end(message, aws)
            queue.delete(receipt)
            buried += 1
    metrics.add_metric("DeadLetters", MetricUnit.Count, buried)
    return buried


def _fail_batch(message: dict[str, Any], aws: Services) -> None:
    upload = aws.uploads.pinned(message["upload"])
    if aws.uploads.batch_is_done(upload.upload_id, message["shard"], message["batch"]):
        aws.uploads.settle_batch(upload.upload_id, message["shard"], message["batch"])
        return
    proteins = [Protein(**protein) for protein in message["proteins"]]
    rows = [failed_row(protein, DEAD_BATCH, upload.model_version) for protein in proteins]
    record_rows(upload, message["shard"], message["batch"], rows, aws)


def _fail_shard(message: dict[str, Any], aws: Services) -> None:
    """End a shard that cannot be split: with what was done, or not at all where nothing was planned."""
    if message.get("inflate"):
        aws.uploads.refuse(message["upload"], DEAD_SHARD)
        return
    aws.uploads.abandon_shard(Shard.from_message(message), DEAD_SHARD)


def _fail_upload(message: dict[str, Any], aws: Services) -> None:
    detail = message.get("detail", {})
    version = detail.get("object", {}).get("version-id")
    identity = upload_id(detail["bucket"]["name"], detail["object"]["key"], version)
    try:
        aws.uploads.item(identity)
    except KeyError:
        logger.error("an event could not be received", extra={"upload": identity})
        return
    aws.uploads.refuse(identity, DEAD_UPLOAD)


def move(item: Item, aws: Services) -> bool:
    """Get one open upload on if it stands still; say whether anything was done."""
    upload_identity = item["pk"]
    late: bool = now_seconds() > item["deadline"]
    still: bool = now_seconds() - item["updated"] > aws.settings.overdue_seconds
    if item["status"] == "finishing":
        if still:
            # A new stream record: `complete` tries again.
            aws.uploads.set_finishing(upload_identity, attempts(item))
        return still
    if item["status"] == "receiving":
        if late:
            aws.uploads.refuse(upload_identity, item.get("reason") or TOO_LATE)
        elif still or not item["model_version"]:
            aws.uploads_queue.send(_event(item))
        return True
    return sum(_resend(shard, item, late, aws) for shard in _unfinished(item)) > 0


def _unfinished(item: Item) -> Iterator[Shard]:
    done = set(item.get("shards_done", ()))
    return (shard for shard in planned_shards(item) if shard.number not in done)


def _resend(shard: Shard, item: Item, late: bool, aws: Services) -> bool:
    """Send a shard again if nothing has moved in it for long, giving it up if the upload is late."""
    recorded = aws.uploads.shard(item["pk"], shard.number)
    updated = max(item["updated"], recorded.get("updated", 0))
    given_up = recorded.get("given_up", False)
    if now_seconds() - updated <= aws.settings.overdue_seconds and (given_up or not late):
        return False
    aws.uploads.touch(item["pk"], shard.number, given_up=late)
    message = shard.as_message() | {"give_up": TOO_LATE if late else ""}
    aws.shards_queue.send(message)
    logger.warning("shard sent again", extra={"upload": item["pk"], "shard": shard.number, "late": late})
    metrics.add_metric("ShardsResent", MetricUnit.Count, 1)
    return True


def _event(item: Item) -> dict[str, Any]:
    """The part of S3's event that `receive` reads."""
    source = item["source"]
    given = {"key": source["key"], "size": item["size"]}
    if source["version_id"] != "null":
        given["version-id"] = source["version_id"]
    return {"detail": {"bucket": {"name": source["bucket"]}, "object": given}}


def receive_lost(aws: Services) -> int:
    """Send events for files that are in the bucket and not in the table."""
    bucket = aws.settings.uploads_bucket
    lost = 0
    for page in aws.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", []):
            age = now_seconds() - version["LastModified"].timestamp()
            if not LOST_AFTER_SECONDS < age < LOST_UNTIL_SECONDS or version["Key"].startswith(LABELS_PREFIX):
                continue
            source = {"bucket": bucket, "key": version["Key"], "version_id": version["VersionId"]}
            if aws.uploads.exists(upload_id(**source)):
                continue
            aws.uploads_queue.send(_event({"source": source, "size": version["Size"]}))
            lost += 1
    if lost:
        logger.warning("files without an event", extra={"count": lost})
    metrics.add_metric("LostEvents", MetricUnit.Count, lost)
    return lost
