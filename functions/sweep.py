"""sweep: repairs whatever went wrong on the way, so that every upload ends.

In: a schedule. Every minute: dead letters become failed rows with their reason; uploads that waited for a
model version are received again; shards without progress are sent again; past its deadline, the rest of an
upload is given up, and one whose results cannot be written ends without them; a deleted one is erased once
more, as a late delivery may have written of it. Every hour: files in the bucket whose event was lost are
received, however old they are.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions.domain.protein import Protein
from functions.domain.upload import Ending, Inflate, Shard, Source, is_folder, read_task, upload_id
from functions.domain.upload_record import UploadRecord, progress_of
from functions.services import Services, services
from functions.services.answers_table import ended_rows
from functions.services.batch_end import record_rows
from functions.services.dynamodb import now_seconds
from functions.services.failures import Failures
from functions.services.uploads_table import new_upload

logger = Logger()
metrics = Metrics()

DEAD_LETTERS_A_RUN = 200
LOST_AFTER_SECONDS = 600
LOST_PAGE_VERSIONS = 1000
LOST_PAGES_A_RUN = 20
"""At most a look in the table for each version: two of the five minutes that `sweep` has."""

AGAIN_SECONDS = 900
"""Before an event is delivered again that cannot make a row; SQS holds a message back for no longer."""

LABELS_PREFIX = "labels/"

DEAD_BATCH = "the batch failed again and again; the functions' log tells why"
DEAD_SHARD = "this part of the file could not be read, again and again; the functions' log tells why"
DEAD_UPLOAD = "the file could not be received, again and again; the functions' log tells why"
TOO_LATE = "not predicted before the upload's deadline"
UNWRITTEN = "the results could not be written before the upload's deadline; the functions' log tells why"


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    aws = services()
    if event.get("task") == "lost-events":
        return {"received": receive_lost(aws)}
    failures = Failures()
    answer = {"dead_letters": bury(aws, failures), "moved": move_all(aws, failures)}
    failures.raise_first()
    return answer


def bury(aws: Services, failures: Failures) -> int:
    """Turn dead letters into ends; return how many."""
    buried = 0
    for queue, end in (
        (aws.batches_dead_letters, _fail_batch),
        (aws.shards_dead_letters, _fail_shard),
        (aws.uploads_dead_letters, _fail_upload),
    ):
        with failures.kept(queue.url):
            for message, receipt in queue.drain(DEAD_LETTERS_A_RUN):
                with failures.kept(str(message.get("upload"))):
                    try:
                        end(message, aws)
                    except (KeyError, TypeError):  # it names nothing that could be ended
                        logger.error("removed a dead letter that says nothing", extra={"queue": queue.url})
                    queue.delete(receipt)
                    buried += 1
    metrics.add_metric("DeadLetters", MetricUnit.Count, buried)
    return buried


def _fail_batch(message: dict[str, Any], aws: Services) -> None:
    upload_id, shard, batch = message["upload"], message["shard"], message["batch"]
    upload = aws.uploads.open_batch(upload_id, shard, batch)
    if upload is None:
        return
    proteins = [Protein.from_message(protein) for protein in message["proteins"]]
    rows = ended_rows(proteins, DEAD_BATCH, upload, aws.answers)
    record_rows(upload, shard, batch, rows, aws)


def _fail_shard(message: dict[str, Any], aws: Services) -> None:
    """Give up a shard that cannot be split: the rest of it fails, or at last is left out."""
    shard = read_task(message)
    if isinstance(shard, Inflate):
        aws.uploads.note(shard.upload_id, DEAD_SHARD)  # `move` has it received again, up to its deadline
    elif not shard.give_up:
        aws.shards_queue.send(replace(shard, give_up=DEAD_SHARD).as_message())
    else:
        upload = aws.uploads.get(shard.upload_id)
        if aws.uploads.is_in_work(upload, shard.number) and now_seconds() > upload.deadline:
            aws.uploads.abandon_shard(shard, DEAD_SHARD)


def _fail_upload(message: dict[str, Any], aws: Services) -> None:
    """Note why a file could not be received, on a row that `move` has received again, up to its deadline.

    The event may be all that tells of the file: it makes the row where `receive` never came so far.
    """
    thing = message["detail"]["object"]
    source = Source(message["detail"]["bucket"]["name"], thing["key"], thing.get("version-id") or "null")
    identity = upload_id(*source)
    if not aws.uploads.exists(identity):
        if "size" not in thing:
            aws.uploads_queue.send(message, AGAIN_SECONDS)
            return
        if is_folder(source.key, int(thing["size"])):
            return
        aws.uploads.start(new_upload(source, int(thing["size"]), "", aws.settings))
    aws.uploads.note(identity, DEAD_UPLOAD)


def move_all(aws: Services, failures: Failures) -> int:
    """Get every open upload on that stands still; return how many.

    Another order in every run: where they are too many for one, none waits behind the same ones for ever.
    """
    moved, moment = 0, now_seconds()
    with failures.kept("open uploads"):
        for upload in sorted(aws.uploads.open_uploads(), key=lambda each: _turn(each.upload_id, moment)):
            with failures.kept(upload.upload_id):
                moved += move(upload, aws)
    return moved


def _turn(upload: str, moment: int) -> bytes:
    """The key by which an upload is sorted in the run of this moment."""
    return hashlib.sha256(f"{moment} {upload}".encode()).digest()


def move(upload: UploadRecord, aws: Services) -> bool:
    """Get one open upload on if it stands still; say whether anything was done."""
    identity = upload.upload_id
    late = now_seconds() > upload.deadline
    still = now_seconds() - upload.updated > aws.settings.overdue_seconds
    if upload.status == "receiving":
        if late:
            aws.uploads.refuse(identity, upload.reason or TOO_LATE)
        elif still or not upload.model_version:
            aws.uploads_queue.send(_event(upload.source, upload.size))
        return True
    if upload.status == "running":
        unfinished = list(_unfinished(upload))
        if not unfinished:
            aws.uploads.finish_if_full(identity)  # the last one's message was lost just before this
        return sum(_resend(shard, upload, late, aws) for shard in unfinished) > 0
    if still and late and upload.status == "finishing":
        _end_unwritten(upload, aws)
    elif still:
        aws.uploads.call_again(identity)
    return still


def _end_unwritten(upload: UploadRecord, aws: Services) -> None:
    """End an upload that `complete` has failed on until now, without results; this calls it to announce it.

    Every row stays in its part, and every answer is known when the file is sent again.
    """
    shards = aws.uploads.begun_shards(upload)
    counts = aws.uploads.counts(upload.upload_id, shards)
    status = "cancelled" if upload.cancelled else "failed"
    ending = Ending(status, upload.reason or UNWRITTEN, counts, progress_of(upload, shards), {}, [])
    if aws.uploads.finish(upload.upload_id, upload.attempts, ending):
        logger.error("results not written", extra={"upload": upload.upload_id, **counts._asdict()})
        metrics.add_metric(f"Uploads{status.capitalize()}", MetricUnit.Count, 1)


def _unfinished(upload: UploadRecord) -> Iterator[Shard]:
    return (shard for shard in upload.planned_shards() if shard.number not in upload.shards_done)


def _resend(shard: Shard, upload: UploadRecord, late: bool, aws: Services) -> bool:
    """Send a shard again if nothing has moved in it for long, giving it up if the upload is late."""
    recorded = aws.uploads.shard(upload.upload_id, shard.number)
    updated = max(upload.updated, recorded.updated)
    if now_seconds() - updated <= aws.settings.overdue_seconds and (recorded.given_up or not late):
        return False
    aws.uploads.touch(upload.upload_id, shard.number, given_up=late)
    aws.shards_queue.send(replace(shard, give_up=TOO_LATE if late else "").as_message())
    logger.warning(
        "shard sent again", extra={"upload": upload.upload_id, "shard": shard.number, "late": late}
    )
    metrics.add_metric("ShardsResent", MetricUnit.Count, 1)
    return True


def _event(source: Source, size: int) -> dict[str, Any]:
    """The part of S3's event that `receive` reads."""
    version = {} if source.version_id == "null" else {"version-id": source.version_id}
    return {
        "detail": {"bucket": {"name": source.bucket}, "object": {"key": source.key, "size": size, **version}}
    }


def receive_lost(aws: Services) -> int:
    """Send events for files that are in the bucket and not in the table; return how many.

    A run looks at so many versions, and the next one goes on behind them: a bucket may hold years of files.
    """
    lost, place = 0, aws.uploads.listing_place()
    for _ in range(LOST_PAGES_A_RUN):
        page = _versions_after(place, aws)
        lost += sum(_send_if_lost(version, aws) for version in page.get("Versions", []))
        place = _end_of(page)
        aws.uploads.keep_listing_place(_lasting_end_of(page))
        if not place:
            break
    if lost:
        logger.warning("files without an event", extra={"count": lost})
    metrics.add_metric("LostEvents", MetricUnit.Count, lost)
    return lost


def _end_of(page: Any) -> dict[str, str]:
    """The markers of the next page; none after the last one."""
    markers = {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
    return {name: page[its] for name, its in markers.items() if page["IsTruncated"] and page.get(its)}


def _lasting_end_of(page: Any) -> dict[str, str]:
    """The same for the next hour's run: a version may be deleted until then, and its marker mean nothing.

    So it goes on behind the last key that the page held all of, and looks at a few versions again.
    """
    keys = sorted({each["Key"] for kind in ("Versions", "DeleteMarkers") for each in page.get(kind, [])})
    return {"KeyMarker": keys[-2]} if page["IsTruncated"] and len(keys) > 1 else _end_of(page)


def _versions_after(place: dict[str, str], aws: Services) -> Any:
    """A page of the bucket's versions; of the first ones, where S3 does not know the place any more.

    S3 answers InvalidArgument to a version's marker that it cannot read:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
    """
    named = {"Bucket": aws.settings.uploads_bucket, "MaxKeys": LOST_PAGE_VERSIONS}
    listing: Any = aws.s3.list_object_versions
    try:
        return listing(**named, **place)
    except ClientError as error:
        if not place or error.response["Error"]["Code"] != "InvalidArgument":
            raise
        return listing(**named)


def _send_if_lost(version: Any, aws: Services) -> bool:
    """Send the event of a version that the table does not know; say whether that was due."""
    age = now_seconds() - version["LastModified"].timestamp()
    if age <= LOST_AFTER_SECONDS or version["Key"].startswith(LABELS_PREFIX):
        return False
    if is_folder(version["Key"], version["Size"]):
        return False
    source = Source(aws.settings.uploads_bucket, version["Key"], version["VersionId"])
    if aws.uploads.exists(upload_id(*source)):
        return False
    aws.uploads_queue.send(_event(source, version["Size"]))
    return True
