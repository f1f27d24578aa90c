"""erase: the remains of a deleted upload are deleted, for good.

In: the uploads table's stream, filtered to uploads that are being deleted; `sweep` calls again by touching
their row. Out: no file, no text, no part, no result, no row and no marker of the upload, each with all its
versions; of its own row the id alone, so that a late copy of the file's event does not bring it back.

A delivery that began before the deletion may write for as long as it lives, and one whose machine stood
still lives longer than its timeout: all is erased once more until a day has passed, and the row is closed
then. Known answers stay until they expire: they are kept by a sequence's hash, and belong to no upload.
"""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.upload import prefixes_of
from functions.services import Services, services
from functions.services.dynamodb import now_seconds

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(event_type=EventType.DynamoDBStreams)

SETTLED_SECONDS = 86_400
"""After a deletion, until nothing that began before it can be at work any more."""


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    return process_partial_response(event=event, record_handler=_record, processor=processor, context=context)


def _record(record: DynamoDBRecord) -> None:
    if record.dynamodb and record.dynamodb.keys:
        erase(record.dynamodb.keys["pk"], services())


def erase(upload_id: str, aws: Services) -> None:
    """Erase the objects and rows of an upload that is being deleted; the next run erases the rest."""
    upload = aws.uploads.get(upload_id)
    if upload.status != "deleting":
        return
    aws.storage.erase_version(upload.source)
    aws.predictions.erase(upload_id, upload.shards)
    for prefix in prefixes_of(upload_id):
        aws.storage.erase(prefix)
    aws.uploads.erase_records(upload_id)
    logger.info("upload erased", extra={"upload": upload_id})
    if now_seconds() - upload.deleted > SETTLED_SECONDS:
        aws.uploads.set_deleted(upload_id)
        metrics.add_metric("UploadsDeleted", MetricUnit.Count, 1)
