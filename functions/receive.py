"""receive: one S3 event becomes one upload, cut into shards.

In: S3's "Object Created" events from EventBridge, through the uploads queue; any of them may come twice.
Out: an upload in the table, pinned to the active model version, and one message a shard.
A file that is not FASTA ends here, with its reason on the upload.
"""

from datetime import datetime
from math import inf
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import FileGone, InputError
from functions.domain.formats import packing, require_fasta
from functions.domain.locations import TEN
from functions.domain.organisms import kingdom_of
from functions.domain.text import require_size
from functions.domain.upload import Inflate, Source, Upload, is_folder
from functions.domain.upload_record import UploadRecord
from functions.services import Services, services
from functions.services.dynamodb import now_seconds
from functions.services.settings import MIB
from functions.services.uploads_table import new_upload

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(event_type=EventType.SQS)

HEAD_BYTES = 64 * 1024
SPREADING_SECONDS = 900
"""The time for which reads may miss an object after its bucket's versioning was switched on:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/manage-versioning-examples.html"""

NOT_YET = "the file cannot be read yet, or was deleted"
TOO_MANY = "waiting until fewer uploads are in work than the stack takes at once"
NO_MODEL = "waiting for a model version in service; add one with `protloc models add`"


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    return process_partial_response(event=event, record_handler=_record, processor=processor, context=context)


def _record(record: SQSRecord) -> None:
    aws = services()
    with aws.uploads_queue.delivery(record) as event:
        receive(event, aws)


def receive(event: dict[str, Any], aws: Services) -> str | None:
    """Receive the upload an event tells of; return its id, or None where the object is no upload."""
    detail = event["detail"]
    key, size = detail["object"]["key"], int(detail["object"].get("size", 0))
    if is_folder(key, size):
        return None
    source = Source(detail["bucket"]["name"], key, detail["object"].get("version-id") or "null")
    reason, waits, organism = "", False, ""
    try:
        size, organism = aws.storage.stored(source)
        require_size(size, f"{size:,}", aws.settings.max_upload_mib * MIB)
    except InputError as error:
        reason = str(error)
        waits = isinstance(error, FileGone) and _age_seconds(event) < SPREADING_SECONDS
    version = "" if _is_full(aws) else aws.models.active() or ""
    kingdom = kingdom_of(organism)
    labels = aws.models.labels(version)
    upload = aws.uploads.start(new_upload(source, size, version, aws.settings, kingdom, labels))
    identity = upload.upload_id
    if upload.is_gone:
        return identity  # an event that comes after its upload was deleted makes no other
    if kingdom and not upload.organism:  # the row was made when the file could not be looked at yet
        upload = aws.uploads.pin(identity, organism=kingdom)
    logger.info("upload received", extra={"upload": identity, "bytes": size})
    metrics.add_metric("UploadsReceived", MetricUnit.Count, 1)
    if reason and _send_planned(upload, aws):
        pass
    elif waits:
        aws.uploads.note(identity, NOT_YET)  # `sweep` has it received again
    elif reason:
        aws.uploads.refuse(identity, reason)
    elif not upload.model_version:
        _wait(upload, aws)
    else:
        _send_shards(upload, aws)
    return identity


def _send_planned(upload: UploadRecord, aws: Services) -> bool:
    """Send the shards of an upload whose file went away after it was planned; say whether it was.

    A delivery may have planned it and died before sending them; `split` ends them with the batches that were
    done.
    """
    if upload.status != "running":
        return False
    for shard in upload.planned_shards():
        aws.shards_queue.send(shard.as_message())
    return True


def _age_seconds(event: dict[str, Any]) -> float:
    """The object's age in S3; infinite where the event has no time, as those sent by `sweep`."""
    try:
        return now_seconds() - datetime.fromisoformat(event["time"]).timestamp()
    except (KeyError, ValueError):
        return inf


def _is_full(aws: Services) -> bool:
    """True if as many uploads are in work as the stack takes at once. By an index that may lag a little."""
    most = aws.settings.max_open_uploads
    return most > 0 and aws.uploads.in_work_at_once(most) >= most


def _wait(upload: Upload, aws: Services) -> None:
    """Pin the model version now if there is one, and room, by now; otherwise leave the upload to `sweep`."""
    if _is_full(aws):
        aws.uploads.note(upload.upload_id, TOO_MANY)
        return
    version = aws.models.active()
    if not version:
        aws.uploads.note(upload.upload_id, NO_MODEL)
        return
    labels = aws.models.labels(version)
    pinned = {"model_version": version} | ({} if labels is TEN else {"labels": labels.text})
    _send_shards(aws.uploads.pin(upload.upload_id, **pinned), aws)


def _send_shards(upload: Upload, aws: Services) -> None:
    head = b"".join(aws.storage.read(upload.source, 0, min(HEAD_BYTES, upload.size)))
    if packing(head):
        aws.shards_queue.send(Inflate(upload.upload_id).as_message())
        return
    try:
        require_fasta(head, whole=upload.size <= HEAD_BYTES)
    except InputError as error:
        aws.uploads.refuse(upload.upload_id, str(error))
        return
    for shard in aws.uploads.plan(upload.upload_id, upload.source, upload.size, aws.settings.shard_bytes):
        aws.shards_queue.send(shard.as_message())
