"""withdraw: an upload is taken back: cancelled while it is in work, or deleted at any time.

In: `POST /uploads/{upload}/cancel` and `DELETE /uploads/{upload}` of the API; asking twice does no more than
asking once. Out: one conditional write each, to the upload's row. Cancelled, the upload ends the usual way:
each record that has no answer by then gets a failed row that says why, so the counts stay exact, and all of
these can be tried again. Deleted, it is gone for everybody at once, and `erase` deletes its objects and rows.
"""

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import Conflict, UploadDeleted
from functions.domain.upload import FINAL_STATUSES
from functions.domain.upload_record import UploadRecord
from functions.http import REFUSED, answer, refusal
from functions.parameters import MAX_NAME_CHARACTERS
from functions.services import Services, services

logger = Logger()


class NothingToCancel(Conflict):
    """Every record of the upload has ended."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    name = event["pathParameters"]["upload"][:MAX_NAME_CHARACTERS]
    try:
        if event["httpMethod"] == "DELETE":
            delete(name, services())
            return answer(HTTPStatus.ACCEPTED, {"upload": name, "status": "deleting"})
        upload = cancel(name, services())
    except REFUSED as error:
        return refusal(error)
    body = {"upload": upload.upload_id, "status": upload.shown_status, "attempts": upload.attempts}
    place = event["requestContext"]["path"].rsplit("/", 1)[0]
    return answer(HTTPStatus.ACCEPTED, body, {"Location": place})


def cancel(upload_id: str, aws: Services) -> UploadRecord:
    """Cancel an upload, unless it was cancelled before; return it as it is then.

    Raises Missing where there is no such upload, UploadDeleted where it was deleted, NothingToCancel where
    all its records have ended.
    """
    before = aws.uploads.existing(upload_id)
    upload = before if before.cancelled else aws.uploads.cancel(upload_id)
    if upload.is_gone:
        raise UploadDeleted
    if not upload.cancelled:
        ended = upload.status in FINAL_STATUSES
        raise NothingToCancel(
            f"the upload has ended as {upload.status}"
            if ended
            else "every record of the upload has ended, and its results are being written"
        )
    if not before.cancelled:
        logger.info("upload cancelled", extra={"upload": upload_id})
    return upload


def delete(upload_id: str, aws: Services) -> None:
    """Delete an upload, unless it was deleted before. Raises Missing where there is no such upload."""
    try:
        aws.uploads.existing(upload_id)
    except UploadDeleted:
        return
    aws.uploads.delete(upload_id)
    logger.info("upload deleted", extra={"upload": upload_id})
