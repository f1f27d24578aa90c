"""retry: a finished upload is begun once more, for just those of its records that failed.

In: `PUT /uploads/{upload}/attempts/{attempt}` of the API, naming the number of the attempt, so that asking
twice begins one. Out: the upload is running again, and a message a shard; everything after goes its usual
way. Answered and rejected records stay as they are, and so does the model version.
"""

import re
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import Conflict, InputError
from functions.domain.upload import FINAL_STATUSES, MAX_ATTEMPTS
from functions.domain.upload_record import UploadRecord
from functions.http import REFUSED, answer, refusal
from functions.parameters import MAX_NAME_CHARACTERS
from functions.services import Services, services
from functions.services.dynamodb import now_seconds
from functions.services.models_table import GONE

logger = Logger()
metrics = Metrics()


class NothingToRetry(Conflict):
    """The upload is not at a point from which this attempt could begin."""


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    parameters = event["pathParameters"]
    try:
        upload = retry(parameters["upload"], parameters["attempt"], services())
    except REFUSED as error:
        return refusal(error)
    body = {"upload": upload.upload_id, "status": upload.status, "attempts": upload.attempts}
    place = event["requestContext"]["path"].rsplit("/", 2)[0]
    return answer(HTTPStatus.ACCEPTED, body, {"Location": place})


def retry(upload_id: str, attempt: str, aws: Services) -> UploadRecord:
    """Begin an attempt, unless it was begun before, and send its shards; return the upload as it is then.

    Raises Missing where there is no such upload, UploadDeleted where it was deleted, InputError where
    `attempt` cannot be one, NothingToRetry where it is not the next one of an upload that ended with failed
    records.
    """
    if len(upload_id) > MAX_NAME_CHARACTERS:
        raise InputError(f"{len(upload_id):,} characters", expected="the name of an upload", where="upload")
    if not re.fullmatch("[0-9]{1,9}", attempt):
        raise InputError(repr(attempt)[:40], expected=f"a number from 2 to {MAX_ATTEMPTS}", where="attempt")
    _require_next(aws.uploads.existing(upload_id), attempt, aws)
    if aws.uploads.retry(upload_id, int(attempt), now_seconds() + aws.settings.deadline_seconds):
        logger.info("upload retried", extra={"upload": upload_id, "attempt": attempt})
        metrics.add_metric("UploadsRetried", MetricUnit.Count, 1)
    upload = aws.uploads.get(upload_id)
    if upload.status == "running" and upload.attempts == int(attempt):
        for task in upload.tasks():  # again too: an earlier request may have died before sending
            aws.shards_queue.send(task.as_message())
    return upload


def _require_next(upload: UploadRecord, attempt: str, aws: Services) -> None:
    if not 2 <= int(attempt) <= MAX_ATTEMPTS:
        raise InputError(repr(attempt)[:40], expected=f"a number from 2 to {MAX_ATTEMPTS}", where="attempt")
    if int(attempt) <= upload.attempts:
        return
    if upload.status not in FINAL_STATUSES:
        raise NothingToRetry("the upload is still in work; what fails can be retried when it has ended")
    if int(attempt) > upload.attempts + 1:
        raise NothingToRetry(f"expected {upload.attempts + 1} as the next attempt, found {int(attempt)}")
    if not upload.counts.failed:
        raise NothingToRetry("no record of the upload failed; there is nothing to retry")
    version = aws.models.get(upload.model_version)
    if version and version["state"] in GONE:
        raise NothingToRetry(
            f"model version {upload.model_version} is no longer there to ask; send the file again"
        )
